"""Settings of the mirrors that container images come from."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from steelyard.api.names import Address, Image, RegistryHost, RegistryName, Upstream, Url
from steelyard.api.settings import RoleSettings

HUB = "docker.io"


class Registry(BaseModel):
    """One registry process on the mirror hosts: one upstream each, or none and filled by pushes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    port: int = Field(ge=1, le=65535, description="TCP port on the mirror host.")
    serves: RegistryHost = Field(
        "local", description="Registry whose images it has: docker.io, ghcr.io, nvcr.io, quay.io, or local."
    )
    upstream: Upstream | None = Field(
        None, description="It pulls through from there; None: it has what is pushed to it."
    )
    probe: Image | None = Field(None, description="REPOSITORY:TAG that clients pull as proof; needs to be there.")
    limit_gb: int = Field(
        200, ge=1, description="Size above which untagged images are removed nightly; then a finding."
    )


class Settings(RoleSettings):
    """Registries on the mirror hosts, and how clients find them."""

    section: ClassVar[str] = "registry_mirror"
    address: Address | None = Field(
        None, description="Where clients reach them; None: the first host of group `mirror`."
    )
    registries: dict[RegistryName, Registry] = Field(
        default_factory=dict, description="Registries on the mirror hosts, by name."
    )
    mirrors: dict[RegistryHost, tuple[Url, ...]] = Field(
        default_factory=dict, description="Further mirrors of others, by the registry they mirror: URLs without a path."
    )
    clients: tuple[Literal["containerd", "podman"], ...] = Field(
        (), description="Clients beside Docker that are pointed at the mirrors on every host."
    )

    def urls_of(self, registry: str, address: str | None) -> tuple[str, ...]:
        """Every declared mirror of a registry, ours first."""
        ours = [
            f"http://{address}:{mirror.port}"
            for mirror in self.registries.values()
            if mirror.serves == registry and address
        ]
        return (*ours, *self.mirrors.get(registry, ()))

    def mirrored(self) -> tuple[str, ...]:
        """Registries that have a mirror, ours or another's; `local` is none, it is asked by its own name."""
        served = {mirror.serves for mirror in self.registries.values()} | self.mirrors.keys()
        return tuple(sorted(served - {"local"}))

    def probe_of(self, registry: str) -> str:
        """The image that proves a mirror of it; empty where none is declared."""
        return next(
            (mirror.probe for mirror in self.registries.values() if mirror.serves == registry and mirror.probe), ""
        )
