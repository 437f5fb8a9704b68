"""What `steelyard models prune` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steelyard.models.downloads import Kind

from .models import gib, moment
from .tables import made_table
from .text import plural

if TYPE_CHECKING:
    from steelyard.models.downloads import Download

    from .screen import Screen

WORDS = {
    Kind.FETCHED: "fetched",
    Kind.HUB: "in the Hub's cache",
    Kind.ADDRESS: "downloads of",
    Kind.SHAPED: "converted or cut anew",
    Kind.HASHES: "hashes",
}


def show_downloads(screen: Screen, found: list[Download]) -> None:
    if screen.json or screen.quiet or not found:
        return
    table = made_table("WHAT", "", "SIZE", "LAST USED", "")
    for each in found:
        fate = f"stays: {each.stays}" if each.stays else "goes"
        table.add_row(WORDS[each.kind], each.name, gib(each.size), moment(each.used), fate)
    screen.tables(table)


def show_pruned(screen: Screen, found: list[Download], refused: list[Download], freed_bytes: int) -> None:
    """`refused`: those that could not be removed."""
    left = {each.paths for each in refused}
    removed = [each for each in found if each.stays is None and each.paths not in left]
    stays = [each for each in found if each.stays is not None] + refused
    if screen.json:
        rows = [{**_row(each), "why": each.stays} for each in stays]
        screen.document(
            "models prune", {"removed": [_row(each) for each in removed], "stays": rows, "freed_bytes": freed_bytes}
        )
        return
    for each in refused:
        screen.out(f"{WORDS[each.kind]} {each.name} could not be removed: {each.stays}")
    if removed:
        screen.out(f"removed {len(removed)} of {plural(len(found), 'entry', 'entries')}; {gib(freed_bytes)} more are free")
    elif not refused:
        screen.out("nothing to remove")


def _row(each: Download) -> dict[str, Any]:
    return {"kind": str(each.kind), "name": each.name, "bytes": each.size, "used": round(each.used, 3)}
