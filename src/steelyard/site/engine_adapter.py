"""The adapter of an engine to our hosts: plain values that its role gives, and that the units, files and tasks of a
service are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from steelyard.api.names import EngineVersion, Package
from steelyard.api.settings import RoleSettings
from steelyard.site.site import Service

LockHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class EngineSettings(RoleSettings):
    """The section of an engine: at least which version, what its hosts need, and which wheels they may install."""

    version: EngineVersion
    packages: tuple[Package, ...]
    lock_sha256: LockHash | None = Field(
        None,
        description=(
            "sha256 of the wheels' lock for `version`, as `steelyard wheels collect` printed it: hosts install "
            "from no other lock. None: hosts install what the mirror offers."
        ),
    )
    lock_sha256_of: dict[EngineVersion, LockHash] = Field(
        default_factory=dict,
        description="The same for further versions, which services name by `serve.engine_version`: version to sha256.",
    )

    def lock_of(self, version: str) -> str | None:
        """The lock that hosts of a version may install from; None: whichever there is."""
        return self.lock_sha256_of.get(version) or (self.lock_sha256 if version == self.version else None)


class EngineFile(NamedTuple):
    """A file of the engine's own on each host that runs it; `task` is what the plan calls it."""

    task: str
    path: str
    text: str


@dataclass(frozen=True)
class EngineAdapter:
    """One engine. `settings`: its section; `environment`: lines of its unit; `command`: after `engine-exec`.

    `suffix` is that of its config file, and `config` its text, from the service, the seconds for running requests at a
    stop, and loading options that were measured. `compiles`: it keeps what it compiled, so hosts can share that.
    """

    kind: str
    title: str
    settings: type[EngineSettings]
    environment: tuple[str, ...]
    command: str
    suffix: str
    config: Callable[[Service, int, Mapping[str, Any]], str]
    files: tuple[EngineFile, ...] = ()
    compiles: bool = False
