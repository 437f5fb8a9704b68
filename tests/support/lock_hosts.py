"""Keepers of a fleet's lock on this machine: real shells and the real script, each with a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyinfra.api.command import StringCommand

from steelyard.api.host_error import HostError
from steelyard.engine.lock import FleetLock
from steelyard.engine.session import Session
from steelyard.errors import HostUnreachable
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.site.site import Site

from .here import Here


class KeeperHost(Here):
    """This machine as a keeper. Those in `silent` answer nobody."""

    folder = Path()
    silent: set[str] = set()
    requests: list[tuple[str, str]] = []  # keeper and verb

    def connect(self) -> None:
        self._must_answer()
        super().connect()

    def _must_answer(self) -> None:
        if self.host.name in self.silent:
            raise HostError(HostUnreachable(where=self.host.name, why="no route to host", address="nowhere"))

    def _text_of(self, command: StringCommand, arguments: Mapping[str, Any]) -> str | None:
        text = super()._text_of(command, arguments)
        assert text is not None
        if "/var/lib/steelyard" in text:
            self._must_answer()
            self.requests.append((self.host.name, text.rsplit("' lock ", 1)[1].split()[0]))
        return text.replace("d=/var/lib/steelyard;", f"d={self.folder}/{self.host.name};")


@contextmanager
def lock_over(folder: Path, names: tuple[str, ...], ttl_s: int = 600, alias: str | None = None) -> Iterator[FleetLock]:
    """A lock that these hosts keep, not connected; another one over the same folder is another controller's."""
    KeeperHost.folder = folder
    fleet = Fleet(folder, tuple(FleetHost(name, ("all",), {}) for name in names), {"all": names})
    with Session(fleet, Site("/models", {}, (), {}, {}, {}), names, None, KeeperHost) as session:
        yield FleetLock(session, "inventories/site", ttl_s, alias)
