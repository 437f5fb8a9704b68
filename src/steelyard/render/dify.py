"""Results of `steelyard dify`: models, proofs, backups, an upgrade with its outage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from steelyard_host.wire.codec import to_json

from .models import gib
from .tables import dify_table, made_table

if TYPE_CHECKING:
    from pathlib import Path

    from steelyard.dify.check import ModelCheck
    from steelyard.dify.console import ListedModel
    from steelyard.dify.seed import Seed
    from steelyard_host.wire.dify import ArchiveList, Backup, BackupProof, ListedBackup, Rehearsal, Restored, Upgrade

    from .screen import Screen


PASSED_OVER_SHOWN = 3


def show_models(
    screen: Screen, where: str, provider: str, models: Sequence[ListedModel], by_hand: Sequence[str]
) -> None:
    """The models of the provider, and which were registered `by_hand`: `TYPE NAME`."""
    rows = [
        {
            "model": model["model"],
            "model_type": model["model_type"],
            "status": model["status"],
            "model_properties": model["model_properties"],
            "ours": f"{model['model_type']} {model['model']}" not in by_hand,
        }
        for model in models
    ]
    if screen.json:
        screen.document("dify ls", {"dify": where, "provider": provider, "models": rows})
        return
    screen.out(f"{where} ({provider})")
    screen.tables(dify_table(models, by_hand))


def show_login(screen: Screen, where: str, email: str | None, workspaces: Sequence[str]) -> None:
    """Show that Dify took the login; `email` is None where it was the admin key."""
    if screen.json:
        screen.document("dify login", {"dify": where, "email": email, "workspaces": list(workspaces)})
        return
    who = f"`{email}`" if email is not None else "`dify.admin_key`"
    screen.out(f"{where}: took the login of {who}; workspaces: {', '.join(workspaces)}")


def show_proofs(screen: Screen, where: str, checked: ModelCheck) -> None:
    """Show what each model answered to a user of Dify, and what of a check is still in Dify."""
    if screen.json:
        models = [proof.as_json() for proof in checked.proofs]
        shown = {"dify": where, "models": models, "removed": list(checked.removed), "left": list(checked.left)}
        screen.document("dify check", shown)
        return
    table = made_table("MODEL", "TYPE", "RESULT", "SECONDS", "WHY")
    for proof in checked.proofs:
        seconds = "-" if proof.seconds is None else f"{proof.seconds:.2f}"
        table.add_row(proof.model, proof.type, proof.result, seconds, proof.why or "-")
    screen.out(f"{where}: asked as a user of Dify asks, through its own service API")
    screen.tables(table)


def show_backups(screen: Screen, host: str, backups: Sequence[ListedBackup]) -> None:
    """The archives on the Dify host."""
    if screen.json:
        screen.document("dify backups", {"host": host, "backups": to_json(list(backups))})
        return
    table = made_table("ARCHIVE", "SIZE", "RESTORED ONCE")
    for archive in backups:
        table.add_row(archive.archive, gib(archive.bytes), "yes" if archive.proved else "no")
    screen.tables(table)


def show_seed(screen: Screen, package: Path, seed: Seed) -> None:
    """The packed cache, with the lines that declare it."""
    if screen.json:
        failed = [{"uv": release, "why": why} for release, why in seed.failed]
        shown = {"cache": str(seed.path), "sha256": seed.sha256, "bytes": seed.size, "uv": seed.uv, "failed": failed}
        screen.document("dify seed", shown)
        return
    screen.out(f"{seed.path}: {gib(seed.size)}, filled by {seed.uv}; each installed from it without a network")
    for release, why in seed.failed:
        screen.out(f"no daemon with uv {release} can use it: {why}")
    screen.out(f"plugins:\n  - package: {package}\n    cache: {seed.path}\n    cache_sha256: {seed.sha256}")


def show_backup(screen: Screen, host: str, made: Backup, proof: BackupProof | None) -> None:
    """Show the archive that was made; with its tables where it was restored into scratch databases."""
    shown: dict[str, object] = {
        "archive": made.archive,
        "bytes": made.bytes,
        "files": made.files,
        **_passed_over_json(made),
    }
    sentence = f"{made.archive}, Dify {made.version}, {made.files} files, {gib(made.bytes)}, every byte read again"
    if proof is not None:
        shown["tables"] = proof.tables
        sentence += f"; restored into scratch databases: {proof.tables}"
    _show_done(screen, "dify backup", host, {**shown, "dify": made.version}, sentence + _passed_over_words(made))


def show_archive(screen: Screen, host: str, archive: str, content: ArchiveList) -> None:
    """Show that an archive is whole; `content` is the list in it."""
    version, files = content.version, len(content.files)
    shown = {"archive": archive, "dify": version, "made": content.made, "files": files, **_passed_over_json(content)}
    sentence = f"{archive} is whole: Dify {version}, {files} files{_passed_over_words(content)}"
    _show_done(screen, "dify verify", host, shown, sentence)


def show_restored(screen: Screen, host: str, archive: str, restored: Restored) -> None:
    """Show the release that answers from an archive, and what is left to do."""
    shown = {"archive": restored.archive, "seconds": restored.seconds, "dify": restored.version}
    sentence = (
        f"Dify {restored.version} answers from {archive} after {restored.seconds} s; `steelyard apply` brings it "
        f"to what is declared"
    )
    _show_done(screen, "dify restore", host, shown, sentence)


def show_up_to_date(screen: Screen, host: str, release: str) -> None:
    """Show an upgrade that has nothing to do."""
    shown = {"from": release, "to": release, "state": "none"}
    _show_done(screen, "dify upgrade", host, shown, f"Dify {release} runs, as declared")


def show_rehearsed(screen: Screen, host: str, old: str, new: str, rehearsal: Rehearsal) -> None:
    """Show an upgrade that was only rehearsed."""
    shown = {**rehearsal.as_json(), "state": "rehearsed"}
    _show_done(screen, "dify upgrade", host, shown, f"{old} to {new} was rehearsed; nothing was touched")


def show_upgraded(screen: Screen, host: str, upgrade: Upgrade) -> None:
    """Show an upgrade with its outage and the backup made in between."""
    sentence = (
        f"Dify {upgrade.to} answers; it was away for {upgrade.outage} s; the backup made in between is "
        f"{upgrade.archive}"
    )
    _show_done(screen, "dify upgrade", host, upgrade.as_json(), sentence)


def show_image_names(screen: Screen, names: Sequence[str]) -> None:
    """Every image of the declared release, one a line."""
    if screen.json:
        screen.document("dify images", {"images": list(names)})
        return
    screen.lines(names)


def show_secrets(screen: Screen, path: Path, names: Sequence[str]) -> None:
    """Names of the secrets that were made; never a value."""
    if screen.json:
        screen.document("dify secrets", {"file": str(path), "made": list(names)})
        return
    screen.out(f"{path}: {len(names)} made" + (f": {', '.join(names)}" if names else ", all were there"))


def _passed_over_json(made: Backup | ArchiveList) -> dict[str, object]:
    """The keys of what is not in an archive as it was in the volumes."""
    return {"passed_over": to_json(made.passed_over), "passed_over_count": made.passed_over_count}


def _passed_over_words(made: Backup | ArchiveList) -> str:
    """The end of a sentence: what is not in an archive as it was in the volumes; empty where everything is."""
    if not made.passed_over_count:
        return ""
    first = ", ".join(f"{entry.name} {entry.why}" for entry in made.passed_over[:PASSED_OVER_SHOWN])
    more = made.passed_over_count - len(made.passed_over[:PASSED_OVER_SHOWN])
    return f"; passed over: {first}" + (f" and {more} more, see --json" if more else "")


def _show_done(screen: Screen, command: str, host: str, shown: Mapping[str, object], sentence: str) -> None:
    """One thing that was done on the Dify host."""
    if screen.json:
        screen.document(command, {"host": host, **shown})
        return
    screen.out(f"{host}: {sentence}")
