"""Container images into the registry of the mirror hosts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.errors import RegistryMissing

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.artifacts.images import PinnedImage
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import FleetHost


def push_port(inventory: Path, name: str | None, mirrors: Sequence[FleetHost]) -> int:
    """Port of the registry that takes pushes, as the first mirror host declares it. Raises RegistryMissing."""
    variables = mirrors[0].variables if mirrors else {}
    declared = (variables.get("registry_mirror") or {}).get("registries") or {}
    for registry, settings in declared.items():
        if not settings.get("upstream") and name in (None, registry):
            return int(settings["port"])
    raise RegistryMissing(where=str(inventory), named=f" under the name {name}" if name else "")


def copy_images(session: Session, images: tuple[PinnedImage, ...], port: int) -> dict[str, dict[str, str]]:
    """Copy images on every host of the session: what became of each, by host and image."""
    from steelyard.modules.operations.images import copied

    results: dict[str, dict[str, str]] = {}

    def copy(host: Host) -> None:
        results[host.name] = copied(host, images, port)

    session.each(copy, "copying images to")
    return results
