"""Leftovers on a host of things that are declared no more: the answer of `remains`. Sizes are bytes."""

from __future__ import annotations

from typing import NamedTuple


class LeftService(NamedTuple):
    """A service that is declared no more, or whose engine is another now, with what is left of it.

    `files` are its configuration and its keys; `kept` is what outlives it until somebody clears it: caches, records.
    `account`: that of its engine, where it is here.
    """

    name: str
    units: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    kept_bytes: int = 0
    replaced: bool = False  # the service is declared, with another engine
    account: str = ""

    @property
    def is_set_up(self) -> bool:
        """Whether anything of it can still serve, or start."""
        return bool(self.units or self.files or self.account)


class RememberedHost(NamedTuple):
    """A host that was applied as a part of this site, and how it was reached. `last`: seconds of the epoch."""

    address: str
    last: float
    user: str | None = None
    port: int | None = None


class Remains(NamedTuple):
    """The answer of `remains`.

    `starting`: declared units that were never set up here; `front` and `gateway`: files of the local proxy, and of the
    gateway's role; `hosts`: those that were applied, by name, where this host keeps the record.
    """

    services: tuple[LeftService, ...] = ()
    starting: tuple[str, ...] = ()
    front: tuple[str, ...] = ()
    gateway: tuple[str, ...] = ()
    hosts: dict[str, RememberedHost] = {}
