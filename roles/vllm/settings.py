"""Settings of vLLM, and of the services of every engine; which models are served is said in
models.yml.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr

from steelyard.api.names import EngineVersion, Gpu, Package, ServiceName
from steelyard.site.engine_adapter import EngineSettings


class Settings(EngineSettings):
    """The engine's version, its key, and how long its phases may take."""

    section: ClassVar[str] = "vllm"
    version: EngineVersion = Field("0.32.0", description="Version of vLLM; names its environment.")
    packages: tuple[Package, ...] = Field(
        ("python3-venv", "libnuma1", "haproxy"), description="Debian packages an engine host needs."
    )
    api_key: SecretStr | None = Field(
        None, description="Key of which those are made that gateways show to the services' hosts; None: no key."
    )
    warm_s: int = Field(
        300,
        ge=0,
        description="Seconds that a version may take into the page cache while its engine starts; 0: not at all.",
    )
    warm_at_once: int = Field(1, ge=1, description="Versions that a host reads into the page cache at the same time.")
    ready_s: int = Field(840, ge=10, description="Seconds from start to the first generated token.")
    gpus: dict[ServiceName, tuple[Gpu, ...]] = Field(
        default_factory=dict,
        description="Service name to the UUIDs of its GPUs on this host; others are given free ones, and keep them.",
    )
    memory_gib: float | None = Field(
        None,
        gt=0,
        description=(
            "Memory that this host's services may take together, by their `memory_gib`: lazy ones rest to make "
            "room for one that is asked. None: it is not counted."
        ),
    )
    drain_s: int = Field(60, ge=0, description="Seconds running requests get to finish when the engine stops.")
    watch_s: int = Field(
        15, ge=0, description="Seconds between two looks of the watch at each engine; 0: nobody watches."
    )
    hung_s: int = Field(
        180,
        ge=30,
        description=(
            "Seconds without any token, the watch's own or a client's, after which an engine is killed and "
            "started anew."
        ),
    )
