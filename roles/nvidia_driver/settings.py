"""Settings of the NVIDIA driver and its GPUs."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from steelyard.api.names import UnitPattern, Url
from steelyard.api.settings import RoleSettings

MODES = ("default", "exclusive-thread", "prohibited", "exclusive-process")  # by NVML's numbers


Instance = Annotated[str, Field(pattern=r"^[1-8]g\.[0-9]+gb(\+[a-z.]+)*$")]
MigLayout = Annotated[tuple[Instance, ...], Field(min_length=1)]


class GpuSettings(BaseModel):
    """Settings that GPUs forget at a reboot or keep; each is left alone where it is not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    persistence: bool | None = Field(True, description="Keep the driver's state between programs (the daemon does it).")
    power_limit_w: int | None = Field(
        None, ge=50, le=2000, description="Watts per GPU; lost when the driver is unloaded."
    )
    lock_clocks_mhz: tuple[int, int] | None = Field(
        None, description="Least and most of the graphics clock; lost at unload."
    )
    compute_mode: Literal["default", "exclusive-process", "prohibited"] | None = Field(
        None, description="Lost at a reboot."
    )
    ecc: bool | None = Field(None, description="Kept by the GPU; in force after the next reboot.")
    mig: bool | None = Field(None, description="MIG mode; on Ampere kept, later lost at a reboot. Needs an idle GPU.")
    mig_layout: MigLayout | dict[int, MigLayout] | None = Field(
        None,
        description="Instances of every GPU, as [3g.40gb, 2g.20gb], or of each by its index; made again at every boot.",
    )
    numa_balancing: bool | None = Field(
        None, description="Automatic NUMA balancing of the kernel; NVIDIA's Grace guide and CUDA's practices say off."
    )

    @model_validator(mode="after")
    def _layout_needs_the_mode(self) -> GpuSettings:
        if self.mig_layout is not None and not self.mig:
            raise ValueError("a `mig_layout` needs `mig: true`")
        return self

    def wanted(self) -> dict[str, str]:
        """Arguments of the helper's `gpu-settings`, declared ones only."""
        keys: dict[str, str] = {}
        if self.persistence is not None:
            keys["persistence"] = "1" if self.persistence else "0"
        if self.power_limit_w is not None:
            keys["power_limit"] = str(self.power_limit_w)
        if self.lock_clocks_mhz is not None:
            keys["clocks"] = "{},{}".format(*self.lock_clocks_mhz)
        if self.compute_mode is not None:
            keys["compute_mode"] = str(MODES.index(self.compute_mode))
        if self.ecc is not None:
            keys["ecc"] = "1" if self.ecc else "0"
        if self.mig is not None:
            keys["mig"] = "1" if self.mig else "0"
        if isinstance(self.mig_layout, dict):
            keys |= {f"mig_layout.{index}": ",".join(names) for index, names in sorted(self.mig_layout.items())}
        elif self.mig_layout is not None:
            keys["mig_layout"] = ",".join(self.mig_layout)
        return keys


class Settings(RoleSettings):
    """A pinned driver, how far the role may go to have it loaded, and what a host must be to get services."""

    section: ClassVar[str] = "nvidia_driver"
    version: str | None = Field(
        None,
        pattern=r"^[0-9]{3}\.[0-9]+(\.[0-9]+)?$",
        description="Exact driver version, as 580.95.05. None: the role does nothing.",
    )
    source: Literal["cuda", "distro"] = Field(
        "cuda", description="NVIDIA's CUDA repository, or the distribution's own packages."
    )
    url: Url | None = Field(None, description="Mirror of the CUDA repository; {distro} and {arch} are filled in.")
    key_file: str | None = Field(
        None, description="The repository's signing key on this machine; None: fetched from the repository."
    )
    key_fingerprint: str | None = Field(
        None,
        pattern=r"^[0-9A-F]{40}$",
        description="What that key must be; known for Ubuntu 22.04, 24.04 and Debian 12.",
    )
    module: Literal["auto", "open", "proprietary"] = Field(
        "auto", description="Kernel module; auto: by the generation of the GPUs on the bus, open where both work."
    )
    restart: Literal["never", "reload", "reboot"] = Field(
        "reload", description="How far apply may go for another version: only say so, reload the modules, or reboot."
    )
    drain_units: tuple[UnitPattern, ...] = Field(
        ("steelyard-vllm@*.service", "steelyard-llamacpp@*.service"),
        description="Units that are stopped before and started after a reload or reboot.",
    )
    reboot_wait_s: int = Field(900, ge=30, description="Seconds a host may take to come back; then its wave stops.")
    gpus: int | None = Field(None, ge=0, description="GPUs that the host must have; None: as many as its bus shows.")
    gate: Literal["none", "basic", "burn-in"] = Field(
        "basic",
        description=(
            "What a host must pass before services: nothing, healthy GPUs, or DCGM's level 2 once per driver as well."
        ),
    )
    settings: GpuSettings = Field(
        default_factory=lambda: GpuSettings.model_validate({}), description="What is set on every GPU."
    )
