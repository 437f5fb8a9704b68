"""Settings of Docker."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from steelyard.api.names import PackageVersion, Url
from steelyard.api.settings import RoleSettings
from steelyard.modules.operations.json_merge import JsonObject

DEFAULTS: dict[str, Any] = {
    "live-restore": True,
    "log-driver": "json-file",
    "log-opts": {"max-size": "20m", "max-file": "5"},
}


class Settings(RoleSettings):
    """The engine, and keys of daemon.json that are ours; keys of others in it stay."""

    section: ClassVar[str] = "docker"
    source: Literal["distro", "docker"] | None = Field(
        None,
        description="Where the engine comes from: the distribution's package or Docker's repository. None: no Docker.",
    )
    version: PackageVersion | None = Field(
        None, description="Exact version, held; None: what the source has when it is installed."
    )
    url: Url | None = Field(None, description="Docker's apt repository, for `source: docker`.")
    key_file: str | None = Field(
        None, description="Its signing key on this machine (binary or armoured), for `source: docker`."
    )
    key_fingerprint: str = Field(
        "9DC858229FC7DD38854AE2D88D81803C0EBFCD88",
        pattern=r"^[0-9A-F]{40}$",
        description="What that key must be; Docker's by default.",
    )
    daemon: dict[str, Any] = Field(
        default_factory=dict,
        description="Keys of daemon.json, over our own: live-restore, and logs of at most 5 x 20 MB.",
    )

    def keys(self) -> JsonObject:
        """Return our keys and the operator's; his win. `null` takes one of ours out."""
        return {key: value for key, value in {**DEFAULTS, **self.daemon}.items() if value is not None}
