"""Settings of GPUs in containers."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from steelyard.api.names import Url
from steelyard.api.settings import RoleSettings
from steelyard.modules.operations.json_merge import JsonObject


class Settings(RoleSettings):
    """NVIDIA's container toolkit, its CDI description of the GPUs, and the keys that container engines need."""

    section: ClassVar[str] = "nvidia_toolkit"
    version: str | None = Field(
        None,
        pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$",
        description="Version of all its packages. None: the role does nothing.",
    )
    url: Url | None = Field(None, description="Mirror of the toolkit's apt repository; {arch} is filled in.")
    key_file: str | None = Field(
        None, description="The repository's signing key on this machine; None: fetched from the repository."
    )
    key_fingerprint: str = Field(
        "C95B321B61E88C1809C4F759DDCAE044F796ECB0",
        pattern=r"^[0-9A-F]{40}$",
        description="What that key must be; NVIDIA's by default.",
    )
    cdi: bool = Field(True, description="Describe the GPUs by CDI, which a daemon-reload of systemd cannot take away.")
    runtime: bool = Field(True, description="Give Docker the `nvidia` runtime, for programs that ask for it by name.")

    def docker_keys(self) -> JsonObject:
        """Return keys of daemon.json; the role `docker` writes them."""
        if self.version is None:
            return {}
        keys: JsonObject = {}
        if self.cdi:
            keys["features"] = {"cdi": True}
        if self.runtime:
            keys["runtimes"] = {"nvidia": {"args": [], "path": "nvidia-container-runtime"}}
        return keys
