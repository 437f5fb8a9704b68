"""Results of `steelyard models prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steelyard.models.sources.download_cache import DownloadKind

from .models import gib, moment
from .tables import made_table
from .text import plural

if TYPE_CHECKING:
    from steelyard.models.sources.download_cache import Download

    from .screen import Screen

WORDS = {
    DownloadKind.FETCHED: "fetched",
    DownloadKind.HUB: "in the Hub's cache",
    DownloadKind.ADDRESS: "downloads of",
    DownloadKind.CONVERTED: "converted or cut anew",
    DownloadKind.HASHES: "hashes",
}


def show_downloads(screen: Screen, present: list[Download]) -> None:
    if screen.json or screen.quiet or not present:
        return
    table = made_table("WHAT", "", "SIZE", "LAST USED", "")
    for entry in present:
        fate = f"stays: {entry.stays}" if entry.stays else "goes"
        table.add_row(WORDS[entry.kind], entry.name, gib(entry.size), moment(entry.used), fate)
    screen.tables(table)


def show_pruned(screen: Screen, present: list[Download], refused: list[Download], freed_bytes: int) -> None:
    """`refused`: those that could not be removed."""
    left = {entry.paths for entry in refused}
    removed = [entry for entry in present if entry.stays is None and entry.paths not in left]
    stays = [entry for entry in present if entry.stays is not None] + refused
    if screen.json:
        rows = [{**_row(entry), "why": entry.stays} for entry in stays]
        screen.document(
            "models prune", {"removed": [_row(entry) for entry in removed], "stays": rows, "freed_bytes": freed_bytes}
        )
        return
    for entry in refused:
        screen.out(f"{WORDS[entry.kind]} {entry.name} could not be removed: {entry.stays}")
    if removed:
        screen.out(
            f"removed {len(removed)} of {plural(len(present), 'entry', 'entries')}; {gib(freed_bytes)} more are free"
        )
    elif not refused:
        screen.out("nothing to remove")


def _row(entry: Download) -> dict[str, Any]:
    return {"kind": str(entry.kind), "name": entry.name, "bytes": entry.size, "used": round(entry.used, 3)}
