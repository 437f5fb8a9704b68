"""Results of `steelyard models`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from steelyard_host.wire.codec import to_json

from .documents import Errors, error_rows
from .tables import made_table
from .text import plural

if TYPE_CHECKING:
    from pathlib import Path

    from steelyard.models.content.diff import ManifestDiff
    from steelyard.models.content.manifest import Manifest
    from steelyard.models.distribution.push import Pushed
    from steelyard.models.distribution.variants import Shared
    from steelyard.site.schema import Conversion
    from steelyard_host.wire.store import StoredVersion, StoreListing, Verification, Warming

    from .screen import Screen


NOT_PUBLISHED = "is not published there, or the helper is not installed"


def gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def show_added(
    screen: Screen, model: str, version: str, source: str, conversion: Conversion, manifest: Manifest, code: bool
) -> None:
    """Show what is here now, and the lines that declare it."""
    licence = manifest.origin.licence if manifest.origin else None
    if screen.json:
        footprint = manifest.footprint.as_json() if manifest.footprint else {}
        screen.document(
            "models add",
            {
                "model": model,
                "model_version": version,
                "source": source,
                "licence": licence,
                "id": manifest.id,
                "bytes": manifest.size,
                "files": len(manifest.files),
                "fit": footprint,
            },
        )
        return
    screen.note(
        f"{plural(len(manifest.files), 'file')}, {gib(manifest.size)}, licence {licence or 'not stated'}, "
        f"id {manifest.id[:12]}; declare it in models.yml:"
    )
    lines = [
        "models:",
        f"  {model}:",
        f"    source: {source}",
        f"    version: {version}",
        *(["    code: true"] if code else []),
        *(["    convert: true"] if conversion.convert else []),
        *([f"    shard_mib: {conversion.shard_mib}"] if conversion.shard_mib is not None else []),
    ]
    screen.out("\n".join(lines))


def show_signature(screen: Screen, model: str, version: str, manifest: str, signature: str) -> None:
    if screen.json:
        screen.document(
            "models sign", {"model": model, "model_version": version, "id": manifest, "signature": signature}
        )
        return
    screen.note(f"{model} {version}, id {manifest[:12]}, is signed; declare it in models.yml:")
    lines = [f"      {line}" for line in signature.splitlines()]
    screen.out("\n".join(["models:", f"  {model}:", "    signature: |", *lines]))


def show_exported(screen: Screen, model: str, version: str, folder: Path, manifest: Manifest, origin: str) -> None:
    if screen.json:
        about = {"model": model, "model_version": version, "folder": str(folder), "id": manifest.id, "origin": origin}
        screen.document("models export", {**about, "bytes": manifest.size, "files": len(manifest.files)})
        return
    screen.out(
        f"{folder}: {model} {version} whole and verified, {plural(len(manifest.files), 'file')}, "
        f"{gib(manifest.size)}, from {origin}"
    )


def show_difference(screen: Screen, model: str, versions: tuple[str, str], found: ManifestDiff, errors: Errors) -> None:
    """Counts, the first names of each kind, and what a push costs."""
    if screen.json:
        which = {"model": model, "before": versions[0], "after": versions[1]}
        screen.document("models diff", {**which, **asdict(found), "errors": error_rows(errors)})
        return
    screen.out(f"{model}: {versions[0]} -> {versions[1]}: {plural(found.equal, 'tensor')} equal")
    for title, names in (
        ("changed", found.changed),
        ("of another type or shape", found.reshaped),
        ("added", found.added),
        ("removed", found.removed),
        ("other files", found.files_changed),
    ):
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
    screen: Screen, model: str, version: str, stores: Mapping[str, StoreListing | None], errors: Errors
) -> None:
    """Show who keeps a version on each of its hosts, and until when."""
    leases = {
        name: [
            lease
            for row in (store.versions if store is not None else ())
            if (row.project, row.version) == (model, version)
            for lease in row.leases
        ]
        for name, store in stores.items()
    }
    if screen.json:
        hosts = [{"host": name, "leases": to_json(held)} for name, held in leases.items()]
        document = {"model": model, "model_version": version, "hosts": hosts}
        screen.document("models keep", {**document, "errors": error_rows(errors)})
        return
    for name, held in leases.items():
        keepers = ", ".join(f"{lease.who} until {moment(lease.until)} ({lease.why})" for lease in held)
        screen.out(f"{name}: {model} {version}: {'kept by ' + keepers if keepers else 'kept by nobody'}")
    screen.failures()


def show_warmed(screen: Screen, warmings: Mapping[tuple[str, str], Warming | None], errors: Errors) -> None:
    """Show how much of each version is in its host's page cache. `warmings`: by host and model."""
    rows = sorted(warmings.items(), key=_by_host_and_model)
    if screen.json:
        hosts = [{"host": host, "model": project, "warm": to_json(warming)} for (host, project), warming in rows]
        screen.document("models warm", {"hosts": hosts, "errors": error_rows(errors)})
        return
    for (host, project), warming in rows:
        if warming is None:
            screen.out(f"{host}: {project} {NOT_PUBLISHED}")
            continue
        why = f"; {warming.why_not}" if warming.why_not else ""
        resident = f"{gib(warming.resident)} of {gib(warming.bytes)} in memory"
        screen.out(f"{host}: {project}: {resident}, {warming.seconds:.1f} s{why}")
    screen.failures()


def show_caches(screen: Screen, rows: list[Shared], errors: Errors, command: str = "models cache") -> None:
    if screen.json:
        document = {"services": [asdict(row) for row in rows], "errors": error_rows(errors)}
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
    other = next((one for one in rows if one.service == row.service and one.origin), None)
    if other is None:
        return "nothing is compiled yet; serve once, without `enforce-eager`"
    return f"unlike {other.host} in {', '.join(name for name in row.parts if row.parts[name] != other.parts[name])}"


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def show_versions(screen: Screen, stores: Mapping[str, StoreListing | None], errors: Errors) -> None:
    """Show every version of every host's store, and what was half received."""
    if screen.json:
        hosts = [{"host": name, "store": to_json(store)} for name, store in stores.items()]
        screen.document("models ls", {"hosts": hosts, "errors": error_rows(errors)})
        return
    table = made_table("HOST", "MODEL", "VERSION", "SIZE", "ALONE", "STATE", "ID")
    for name, store in stores.items():
        for row in store.versions if store is not None else ():
            state = "; ".join(_notes(row)) or "-"
            sizes = (gib(row.bytes), gib(row.own_bytes))
            table.add_row(name, row.project, row.version, *sizes, state, row.id[:12])
    screen.tables(table)
    for name, store in stores.items():
        if store is None:
            screen.out(f"{name}: the helper is not installed")
        elif store.staging:
            screen.out(f"{name}: half received: {', '.join(store.staging)}")
    screen.failures()


def _notes(row: StoredVersion) -> list[str]:
    """The state of a version in a store, one thing each."""
    return [
        *(["current"] if row.current else []),
        *(["previous"] if row.previous else []),
        *([f"in use by {row.in_use}"] if row.in_use else []),
        *(f"kept by {lease.who} until {moment(lease.until)}" for lease in row.leases),
        *([f"lies on {row.shared}"] if row.shared else []),
        *(["signed"] if row.signed else []),
        *([f"altered: {', '.join(row.altered[:3])}"] if row.altered else []),
    ]


def show_pushes(screen: Screen, pushes: dict[str, Pushed], errors: Errors) -> None:
    """Model by model: how many hosts have it, what the origin sent, how long it took, who could not."""
    if screen.json:
        screen.document("models push", {"models": _push_rows(pushes), "errors": _json_errors(pushes, errors)})
        return
    for project, pushed in pushes.items():
        total = len(pushed.published) + len(pushed.errors)
        sent_whole = pushed.seconds and pushed.origin_bytes >= pushed.size  # else the rate would be of what nobody sent
        rate = f", {pushed.size / pushed.seconds / 1e6:.0f} MB/s each" if sent_whole else ""
        took = (
            f"; {gib(pushed.origin_bytes)} left this machine in {pushed.seconds:.1f} s{rate}" if pushed.seconds else ""
        )
        screen.out(
            f"{project}: {gib(pushed.size)}, whole and verified on {len(pushed.published)} of "
            f"{plural(total, 'host')}{took}"
        )
        for error in pushed.errors.values():
            screen.error(error)
    screen.failures()


def show_verified(
    screen: Screen,
    verified: Mapping[tuple[str, str], Verification | None],
    pushes: dict[str, Pushed],
    errors: Errors,
) -> None:
    """Show what is not as it was published, file and chunk, and what became of the repair. `verified`: by host and
    model.
    """
    rows = sorted(verified.items(), key=_by_host_and_model)
    if screen.json:
        hosts = [{"host": host, "model": project, "verified": to_json(answer)} for (host, project), answer in rows]
        document = {"hosts": hosts, "repaired": _push_rows(pushes), "errors": _json_errors(pushes, errors)}
        screen.document("models verify", document)
        return
    for (host, project), answer in rows:
        if answer is None:
            screen.out(f"{host}: {project} {NOT_PUBLISHED}")
            continue
        for name, chunks in answer.wrong.items():
            shown = ", ".join(str(chunk) for chunk in chunks[:5]) + (", ..." if len(chunks) > 5 else "")
            screen.out(f"{host}: {project}: {name}: {plural(len(chunks), 'chunk')} not as published: {shown}")
        for name in answer.extra:
            screen.out(f"{host}: {project}: {name} is not of the version")
    answers = [answer for answer in verified.values() if answer is not None]
    whole = [answer for answer in answers if not answer.wrong and not answer.extra]
    if len(whole) < len(verified) and not pushes:
        screen.out("  fix: `steelyard models verify --repair` fetches the bad chunks; restart what read them meanwhile")
    size = gib(sum(answer.bytes for answer in answers))
    screen.out(f"{size} read: {plural(len(whole), 'version')} whole of {len(verified)} on all hosts")
    if pushes:
        show_pushes(screen, pushes, errors)
    else:
        screen.failures()


def _by_host_and_model(row: tuple[tuple[str, str], object]) -> tuple[str, str]:
    return row[0]


def show_removed(
    screen: Screen,
    command: str,
    removed: dict[str, list[str]],
    stays: dict[str, list[str]],
    tidied: dict[str, list[str]],
    errors: Errors,
) -> None:
    if screen.json:
        rows = [
            {"host": host, "removed": removed.get(host, []), "stays": stays[host], "tidied": tidied.get(host, [])}
            for host in stays
        ]
        screen.document(f"models {command}", {"hosts": rows, "errors": error_rows(errors)})
        return
    for host, versions in removed.items():
        if versions:
            screen.out(f"{host}: removed {', '.join(versions)}")
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


def _json_errors(pushes: dict[str, Pushed], errors: Errors) -> list[dict[str, str]]:
    everything = [*errors.values(), *(error for pushed in pushes.values() for error in pushed.errors.values())]
    return [error.as_json() for error in everything]
