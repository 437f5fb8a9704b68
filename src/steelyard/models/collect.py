"""Which versions may be removed from a host. Pure."""

from __future__ import annotations

from typing import Any


def removable(
    versions: list[dict[str, Any]], declared: dict[str, str], named: tuple[str, str] | None, keep: int
) -> tuple[list[str], list[str]]:
    """PROJECT@VERSION words to remove, and sentences about what stays and was asked for by name.

    `versions` are rows of the helper's `store-list`. Without a name: all but those declared, current, previous, in use or
    leased, and the `keep` newest of the rest of each model.
    """
    spare = [row for row in versions if not _reason(row, declared)]
    if named is not None:
        rows = [row for row in versions if (row["project"], row["version"]) == named]
        stays = [f"{_word(row)} is {_reason(row, declared)}" for row in rows if _reason(row, declared)]
        return [_word(row) for row in rows if row in spare], stays
    found = []
    for project in dict.fromkeys(row["project"] for row in spare):
        mine = sorted((row for row in spare if row["project"] == project), key=lambda row: -row["published"])
        found += [_word(row) for row in mine[keep:]]
    return found, []


def _word(row: dict[str, Any]) -> str:
    return f"{row['project']}@{row['version']}"


def _reason(row: dict[str, Any], declared: dict[str, str]) -> str | None:
    if declared.get(row["project"]) == row["version"]:
        return "declared"
    for word in ("current", "previous"):
        if row[word]:
            return word
    if row["in_use"]:
        return f"in use by {row['in_use']}"
    return f"kept by {', '.join(lease['who'] for lease in row['leases'])}" if row["leases"] else None
