"""What `steelyard models` says."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .tables import made_table
from .text import plural

if TYPE_CHECKING:
    from pathlib import Path

    from steelyard.errors import SteelyardError
    from steelyard.models.artefacts import Shared
    from steelyard.models.compare import Difference
    from steelyard.models.manifest import Manifest
    from steelyard.models.push import Pushed
    from steelyard.models.sources.shape import Shape

    from .screen import Screen


def gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def show_added(screen: Screen, model: str, version: str, source: str, shape: Shape, manifest: Manifest, code: bool) -> None:
    """What is here now, and the lines that declare it."""
    licence = manifest.origin.licence if manifest.origin else None
    if screen.json:
        found = {"model": model, "model_version": version, "source": source, "licence": licence, "id": manifest.id}
        screen.document("models add", {**found, "bytes": manifest.size, "files": len(manifest.files), "fit": manifest.fit})
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
        *(["    convert: true"] if shape.convert else []),
        *([f"    shard_mib: {shape.shard_mib}"] if shape.shard_mib is not None else []),
    ]
    screen.out("\n".join(lines))


def show_signature(screen: Screen, model: str, version: str, manifest: str, signature: str) -> None:
    if screen.json:
        screen.document("models sign", {"model": model, "model_version": version, "id": manifest, "signature": signature})
        return
    screen.note(f"{model} {version}, id {manifest[:12]}, is signed; declare it in models.yml:")
    lines = [f"      {line}" for line in signature.splitlines()]
    screen.out("\n".join(["models:", f"  {model}:", "    signature: |", *lines]))


def show_exported(screen: Screen, model: str, version: str, folder: Path, manifest: Manifest, origin: str) -> None:
    if screen.json:
        found = {"model": model, "model_version": version, "folder": str(folder), "id": manifest.id, "origin": origin}
        screen.document("models export", {**found, "bytes": manifest.size, "files": len(manifest.files)})
        return
    screen.out(
        f"{folder}: {model} {version} whole and verified, {plural(len(manifest.files), 'file')}, {gib(manifest.size)}, from {origin}"
    )


def show_difference(
    screen: Screen, model: str, versions: tuple[str, str], found: Difference, errors: dict[str, SteelyardError]
) -> None:
    """Counts, the first names of each kind, and what a push costs."""
    if screen.json:
        which = {"model": model, "before": versions[0], "after": versions[1]}
        screen.document("models diff", {**which, **asdict(found), "errors": [error.as_json() for error in errors.values()]})
        return
    screen.out(f"{model}: {versions[0]} -> {versions[1]}: {plural(found.equal, 'tensor')} equal")
    for title, names in (
        ("changed", found.changed), ("of another type or shape", found.reshaped), ("added", found.added), ("removed", found.removed),
        ("other files", found.files_changed),
    ):  # fmt: skip
        if names:
            screen.out(f"  {title}: {len(names)}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}")
    share = f" ({found.send_bytes / found.bytes:.1%})" if found.bytes else ""
    screen.out(f"  a host that has {versions[0]} is sent {gib(found.send_bytes)} of {gib(found.bytes)}{share}")
    screen.out(
        "  same tensors and shapes: weights can change in place"
        if found.in_place
        else "  tensors differ in kind: an engine has to start anew"
    )
    screen.failures()


def show_kept(
    screen: Screen, model: str, version: str, found: dict[str, dict[str, Any] | None], errors: dict[str, SteelyardError]
) -> None:
    leases = {
        name: [lease for row in (answer or {"versions": []})["versions"] if (row["project"], row["version"]) == (model, version) for lease in row["leases"]]
        for name, answer in found.items()
    }  # fmt: skip
    if screen.json:
        hosts = [{"host": name, "leases": mine} for name, mine in leases.items()]
        document = {"model": model, "model_version": version, "hosts": hosts}
        screen.document("models keep", {**document, "errors": [error.as_json() for error in errors.values()]})
        return
    for name, mine in leases.items():
        words = ", ".join(f"{lease['who']} until {moment(lease['until'])} ({lease['why']})" for lease in mine)
        screen.out(f"{name}: {model} {version}: {'kept by ' + words if words else 'kept by nobody'}")
    screen.failures()


def show_warmed(screen: Screen, found: dict[tuple[str, str], dict[str, Any] | None], errors: dict[str, SteelyardError]) -> None:
    if screen.json:
        hosts = [{"host": host, "model": project, "warm": answer} for (host, project), answer in sorted(found.items())]
        screen.document("models warm", {"hosts": hosts, "errors": [error.as_json() for error in errors.values()]})
        return
    for (host, project), answer in sorted(found.items()):
        if answer is None:
            screen.out(f"{host}: {project} is not published there, or the helper is not installed")
            continue
        why = f"; {answer['why_not']}" if answer["why_not"] else ""
        screen.out(
            f"{host}: {project}: {gib(answer['resident'])} of {gib(answer['bytes'])} in memory, {answer['seconds']:.1f} s{why}"
        )
    screen.failures()


def show_caches(screen: Screen, rows: list[Shared], errors: dict[str, SteelyardError], command: str = "models cache") -> None:
    if screen.json:
        document = {"services": [asdict(row) for row in rows], "errors": [error.as_json() for error in errors.values()]}
        screen.document(command, document)
        return
    table = made_table("HOST", "SERVICE", "KEY", "SIZE", "FROM", "RECEIVED", "")
    for row in rows:
        why = row.error or (_other_than(row, rows) if row.origin is None else "")
        table.add_row(row.host, row.service, row.key[:12], gib(row.bytes), row.origin or "-", gib(row.received), why)
    screen.tables(table)
    screen.failures()


def _other_than(row: Shared, rows: list[Shared]) -> str:
    """In what a host differs from the first of its service that has something."""
    other = next((each for each in rows if each.service == row.service and each.origin), None)
    if other is None:
        return "nothing is compiled yet; serve once, without `enforce-eager`"
    return f"unlike {other.host} in {', '.join(name for name in row.parts if row.parts[name] != other.parts[name])}"


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def show_versions(screen: Screen, found: dict[str, dict[str, Any] | None], errors: dict[str, SteelyardError]) -> None:
    if screen.json:
        hosts = [{"host": name, "store": answer} for name, answer in found.items()]
        screen.document("models ls", {"hosts": hosts, "errors": [error.as_json() for error in errors.values()]})
        return
    table = made_table("HOST", "MODEL", "VERSION", "SIZE", "ALONE", "STATE", "ID")
    for name, answer in found.items():
        for row in (answer or {"versions": []})["versions"]:
            words = ["current"] if row["current"] else []
            words += ["previous"] if row["previous"] else []
            words += [f"in use by {row['in_use']}"] if row["in_use"] else []
            words += [f"kept by {lease['who']} until {moment(lease['until'])}" for lease in row["leases"]]
            words += [f"lies on {row['shared']}"] if row["shared"] else []
            words += ["signed"] if row["signed"] else []
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
    screen: Screen, command: str, removed: dict[str, list[str]], stays: dict[str, list[str]], tidied: dict[str, list[str]],
    errors: dict[str, SteelyardError],
) -> None:  # fmt: skip
    if screen.json:
        rows = [
            {"host": host, "removed": removed.get(host, []), "stays": stays[host], "tidied": tidied.get(host, [])}
            for host in stays
        ]
        screen.document(f"models {command}", {"hosts": rows, "errors": [error.as_json() for error in errors.values()]})
        return
    for host, words in removed.items():
        if words:
            screen.out(f"{host}: removed {', '.join(words)}")
    for host, names in tidied.items():
        if names:
            screen.out(f"{host}: half received, given up: {', '.join(names)}")
    for host, sentences in stays.items():
        for sentence in sentences:
            screen.out(f"{host}: {sentence}; it stays")
    if not any(removed.values()) and not any(stays.values()) and not any(tidied.values()):
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
