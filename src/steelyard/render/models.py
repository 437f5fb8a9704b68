"""What `steelyard models` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .tables import made_table
from .text import plural

if TYPE_CHECKING:
    from steelyard.errors import SteelyardError
    from steelyard.models.manifest import Manifest
    from steelyard.models.push import Pushed

    from .screen import Screen


def gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def show_added(
    screen: Screen, model: str, version: str, source: str, licence: str | None, manifest: Manifest, code: bool
) -> None:
    """What is here now, and the lines that declare it."""
    if screen.json:
        found = {"model": model, "model_version": version, "source": source, "licence": licence, "id": manifest.id}
        screen.document("models add", {**found, "bytes": manifest.size, "files": len(manifest.files)})
        return
    screen.note(
        f"{plural(len(manifest.files), 'file')}, {gib(manifest.size)}, licence {licence or 'not stated'}, id {manifest.id[:12]}; declare it in models.yml:"
    )
    lines = [
        "models:",
        f"  {model}:",
        f"    source: {source}",
        f"    version: {version}",
        *(["    code: true"] if code else []),
    ]
    screen.out("\n".join(lines))


def show_versions(screen: Screen, found: dict[str, dict[str, Any] | None], errors: dict[str, SteelyardError]) -> None:
    if screen.json:
        hosts = [{"host": name, "store": answer} for name, answer in found.items()]
        screen.document("models ls", {"hosts": hosts, "errors": [error.as_json() for error in errors.values()]})
        return
    table = made_table("HOST", "MODEL", "VERSION", "SIZE", "ALONE", "STATE", "ID")
    for name, answer in found.items():
        for row in (answer or {"versions": []})["versions"]:
            words = ["current"] if row["current"] else []
            words += [f"in use by {row['in_use']}"] if row["in_use"] else []
            words += [f"altered: {', '.join(row['altered'][:3])}"] if row["altered"] else []
            state = "; ".join(words) or "-"
            table.add_row(name, row["project"], row["version"], gib(row["bytes"]), gib(row["own_bytes"]), state, row["id"][:12])
    screen.tables(table)
    for name, answer in found.items():
        if answer is None:
            screen.out(f"{name}: the helper is not installed")
        elif answer["staging"]:
            screen.out(f"{name}: half received: {', '.join(answer['staging'])}")
    screen.failures()


def show_pushes(screen: Screen, pushes: dict[str, Pushed], errors: dict[str, SteelyardError]) -> None:
    """Model by model: how many hosts have it, what the origin sent, how long it took, who could not."""
    if screen.json:
        screen.document("models push", {"models": _push_rows(pushes), "errors": _json_errors(pushes, errors)})
        return
    for project, pushed in pushes.items():
        total = len(pushed.published) + len(pushed.errors)
        sent_whole = pushed.seconds and pushed.origin_bytes >= pushed.size  # else the rate would be of what nobody sent
        rate = f", {pushed.size / pushed.seconds / 1e6:.0f} MB/s each" if sent_whole else ""
        took = f"; {gib(pushed.origin_bytes)} left this machine in {pushed.seconds:.1f} s{rate}" if pushed.seconds else ""
        screen.out(
            f"{project}: {gib(pushed.size)}, whole and verified on {len(pushed.published)} of {plural(total, 'host')}{took}"
        )
        for error in pushed.errors.values():
            screen.error(error)
    screen.failures()


def show_verified(
    screen: Screen,
    found: dict[tuple[str, str], dict[str, Any] | None],
    pushes: dict[str, Pushed],
    errors: dict[str, SteelyardError],
) -> None:
    """What is not as it was published, file and chunk; and what became of the repair."""
    if screen.json:
        hosts = [{"host": host, "model": project, "verified": answer} for (host, project), answer in sorted(found.items())]
        document = {"hosts": hosts, "repaired": _push_rows(pushes), "errors": _json_errors(pushes, errors)}
        screen.document("models verify", document)
        return
    whole = [answer for answer in found.values() if answer and not answer["wrong"] and not answer["extra"]]
    for (host, project), answer in sorted(found.items()):
        if answer is None:
            screen.out(f"{host}: {project} is not published there, or the helper is not installed")
            continue
        for name, chunks in answer["wrong"].items():
            shown = ", ".join(str(chunk) for chunk in chunks[:5]) + (", ..." if len(chunks) > 5 else "")
            screen.out(f"{host}: {project}: {name}: {plural(len(chunks), 'chunk')} not as published: {shown}")
        for name in answer["extra"]:
            screen.out(f"{host}: {project}: {name} is not of the version")
    if len(whole) < len(found) and not pushes:
        screen.out("  fix: `steelyard models verify --repair` fetches the bad chunks; restart what read them meanwhile")
    size = sum(answer["bytes"] for answer in found.values() if answer)
    screen.out(f"{gib(size)} read: {plural(len(whole), 'version')} whole of {len(found)} on all hosts")
    if pushes:
        show_pushes(screen, pushes, errors)
    else:
        screen.failures()


def show_removed(
    screen: Screen, command: str, removed: dict[str, list[str]], stays: dict[str, list[str]], errors: dict[str, SteelyardError]
) -> None:
    if screen.json:
        rows = [{"host": host, "removed": removed.get(host, []), "stays": stays[host]} for host in stays]
        screen.document(f"models {command}", {"hosts": rows, "errors": [error.as_json() for error in errors.values()]})
        return
    for host, words in removed.items():
        if words:
            screen.out(f"{host}: removed {', '.join(words)}")
    for host, sentences in stays.items():
        for sentence in sentences:
            screen.out(f"{host}: {sentence}; it stays")
    if not any(removed.values()) and not any(stays.values()):
        screen.out("nothing to remove")
    screen.failures()


def _push_rows(pushes: dict[str, Pushed]) -> list[dict[str, Any]]:
    return [
        {
            "model": project,
            "id": pushed.manifest,
            "bytes": pushed.size,
            "origin_bytes": pushed.origin_bytes,
            "seconds": round(pushed.seconds, 3),
            "hosts": {name: pushed.received[name] for name in pushed.published},
            "relinked": pushed.relinked,
        }
        for project, pushed in pushes.items()
    ]


def _json_errors(pushes: dict[str, Pushed], errors: dict[str, SteelyardError]) -> list[dict[str, str]]:
    everything = [*errors.values(), *(error for pushed in pushes.values() for error in pushed.errors.values())]
    return [error.as_json() for error in everything]
