"""Versions of hosts beside the controller's: which helper each has, and whether it is this release's."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from steelyard.artifacts.helper import helper_bytes
from steelyard.modules.facts.versions import HostVersions, Versions

if TYPE_CHECKING:
    from steelyard.engine.session import Session

Row = dict[str, object]  # of a document


@dataclass(frozen=True)
class HostRow:
    """One host's versions. `is_ours`: its helper is the one that this controller would install."""

    host: str
    versions: HostVersions
    is_ours: bool

    @property
    def helper(self) -> str:
        """The helper in words."""
        if self.versions.helper is None:
            return "missing"
        return "of this release" if self.is_ours else "another"

    @property
    def programs(self) -> tuple[str, str, str]:
        """HAProxy, systemd and kernel; `-` for one that is not there."""
        return self.versions.haproxy or "-", self.versions.systemd or "-", self.versions.kernel

    @property
    def engines(self) -> tuple[str, ...]:
        """The environments that services start from, each once."""
        return tuple(dict.fromkeys(engine for _, engine in self.versions.engines))

    def as_json(self) -> Row:
        """The host's object in documents."""
        values = asdict(self.versions)
        engines = [{"service": service, "engine": engine} for service, engine in self.versions.engines]
        return {"host": self.host, **values, "engines": engines, "is_ours": self.is_ours}


def host_versions(session: Session) -> list[HostRow]:
    """The versions of every host that answers. One exec per host."""
    ours = hashlib.sha256(helper_bytes()).hexdigest()
    answers = session.facts(Versions)
    return [HostRow(name, versions, versions.helper == ours) for name, versions in answers.items()]
