"""Dify as one verified archive: databases, volumes with the private keys, `.env` and Compose files; and back again.

An archive is written under another name, read again byte by byte, and only then gets its own.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

from steelyard_host import paths
from steelyard_host.dify import database, lifecycle, tenant_keys
from steelyard_host.dify.archive import extract, files_size, verify, write
from steelyard_host.dify.stack import DifyError, Stack, declared_config
from steelyard_host.system import beneath, json_file, vanishing
from steelyard_host.wire.dify import (
    ArchiveList,
    Backup,
    BackupList,
    BackupProof,
    ListedBackup,
    Restored,
    ScheduledBackup,
)

PROVED = ".proved"
ASIDE_OF = ".steelyard-aside.json"
MARKS = Path(paths.DIFY_MARKS)


def make(stack: Stack, why: str, stopped: bool = False) -> Backup:
    """Writes one archive and verifies it. Raises DifyError, and leaves nothing half written behind."""
    lost = tenant_keys.lost(stack)
    if lost:
        raise DifyError(
            "no backup: the private keys of workspaces %s are not in %s; with them gone every model key in "
            "the database is "
            "lost, so look for them in an older backup first" % (", ".join(lost), tenant_keys.KEYS)
        )
    folder = Path(stack.config["backups"])
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _tidy(folder)
    names = database.databases(stack)
    if not names:
        raise DifyError("no backup: none of the databases %s is there" % ", ".join(stack.config["databases"]))
    _require_room(stack, folder, names)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    work = folder / (".partial-" + stamp)
    target = folder / ("dify-%s-%s.tar.gz" % (stack.version() or "unknown", stamp))
    head = ArchiveList(
        version=stack.version(),
        made=stamp,
        why=why,
        host=socket.gethostname(),
        stopped=stopped,
        databases=tuple(names),
        config=stack.config,
        files={},
    )
    try:
        work.mkdir(mode=0o700)
        listed = write(stack, work, head)
        verify(work / "archive")
        os.replace(work / "archive", target)
        json_file.sync_folder(target.parent)
    except OSError as error:
        raise DifyError("no backup: %s: %s; the ones before are untouched" % (folder, error.strerror)) from error
    finally:
        beneath.discard_tree(work)
    return Backup(
        str(target),
        target.stat().st_size,
        head.version,
        len(listed.files),
        listed.passed_over,
        listed.passed_over_count,
    )


def _tidy(folder: Path) -> None:
    """Removes what a run that was killed left, older than a day."""
    for left in folder.glob(".partial-*"):
        if time.time() - left.stat().st_mtime > 86400:
            beneath.discard_tree(left)


def _require_room(stack: Stack, folder: Path, names: list[str]) -> None:
    """Raises DifyError with the numbers where it may not fit: a full disk would stop what else lives on it."""
    text = "SELECT coalesce(sum(pg_database_size(datname)), 0) FROM pg_database WHERE datname IN (%s)"
    data = int(database.query(stack, "postgres", text % ", ".join("'%s'" % name for name in names))[0])
    files = files_size(stack.folder)
    free = shutil.disk_usage(folder).free
    if free < data + files:
        raise DifyError(
            "no backup: it may need %s (%s of databases, %s of files) and %s has %s free; the ones before are untouched"
            % (mib(data + files), mib(data), mib(files), folder, mib(free))
        )


def mib(size: int) -> str:
    return "%.0f MiB" % (size / 2**20)


def archives(folder: Path) -> list[Path]:
    """Paths of the archives, oldest first."""
    return sorted(folder.glob("dify-*.tar.gz"), key=lambda path: path.name.rsplit("-", 2)[1:])


def listing(folder: Path) -> BackupList:
    """The archives of a folder, oldest first."""
    return BackupList(
        tuple(
            ListedBackup(str(path), status.st_size, status.st_mtime, _is_proved(path))
            for path, status in vanishing.stats(archives(folder))
        )
    )


def _is_proved(path: Path) -> bool:
    return path.with_name(path.name + PROVED).exists()


def retain(folder: Path, keep: int) -> list[str]:
    """Removes the oldest beyond `keep`; the newest one that a restore proved always stays. Names of what went."""
    every = archives(folder)
    proved = [path for path in every if _is_proved(path)]
    gone = [path for path in every[: max(0, len(every) - keep)] if path not in proved[-1:]]
    for path in gone:
        path.unlink()
        path.with_name(path.name + PROVED).unlink(missing_ok=True)
    return [path.name for path in gone]


def prove(stack: Stack, path: Path) -> BackupProof:
    """Restores an archive's databases beside the real ones, counts their tables, and drops them. Raises DifyError."""
    listed = verify(path)
    work = Path(stack.config["backups"]) / (".partial-proof-%d" % os.getpid())
    tables = {}
    try:
        extract(path, work)
        for name in listed.databases:
            scratch = "steelyard_proof_" + name
            database.restore(stack, scratch, work / "db" / (name + ".dump"))
            count = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
            tables[name] = int(database.query(stack, scratch, count)[0])
            database.query(stack, "postgres", 'DROP DATABASE IF EXISTS "%s" WITH (FORCE)' % scratch)
    finally:
        beneath.discard_tree(work)
    path.with_name(path.name + PROVED).touch()
    return BackupProof(str(path), listed.version, tables)


def scheduled(stack: Stack) -> ScheduledBackup:
    """Does what the timer does: a backup, every so often its proof, and the oldest go. Raises DifyError."""
    made = make(stack, "scheduled")
    folder, every = Path(stack.config["backups"]), int(stack.config.get("prove_every", 0))
    known = archives(folder)
    unproved = 0
    for path in reversed(known):
        if _is_proved(path):
            break
        unproved += 1
    due = every and (unproved >= every or unproved == len(known))
    proved = prove(stack, Path(made.archive)).tables if due else None
    gone = retain(folder, int(stack.config.get("keep", 7)))
    return ScheduledBackup(**made._asdict(), gone=tuple(gone), proved=proved)


def restore(path: Path) -> Restored:
    """Brings the host to the archive. What was there is set aside until Dify answers, and comes back if it does not."""
    begin = time.monotonic()
    listed = verify(path)
    config: dict[str, Any] = listed.config
    try:
        config = {**config, **declared_config()}
    except DifyError:
        pass  # an empty host: the archive knows
    folder = Path(config["folder"])
    stack, aside = Stack(config, folder), set_aside(folder)[0]
    require_nothing_aside(folder)
    installed = (folder / "docker-compose.yaml").exists()
    saved = _save_outside(stack, path) if installed and not stack.has_own_database else {}
    if installed:
        stack.compose("down", "--remove-orphans")
        _mark(folder, path)
        os.rename(folder, aside)
    try:
        _bring(stack, path, listed)
    except (DifyError, OSError) as error:
        why = error if isinstance(error, DifyError) else DifyError("%s: %s" % (folder, error.strerror))
        if not installed:
            raise why from error
        _back(stack, aside, saved)
        raise DifyError("the restore failed, what was there before runs again: %s" % why) from error
    os.sync()  # before what was there goes
    MARKS.unlink(missing_ok=True)  # the keys in the archive may be older ones
    for left in set_aside(folder):
        beneath.discard_tree(left)
    return Restored(listed.version, str(path), round(time.monotonic() - begin, 1))


def _bring(stack: Stack, path: Path, listed: ArchiveList) -> None:
    work = stack.folder.with_name(stack.folder.name + ".restoring")
    beneath.discard_tree(work)
    extract(path, work)
    os.rename(work / "dify", stack.folder)
    stack.folder.chmod(0o755)
    database.start(stack, stack.ready_s)
    for name in listed.databases:
        database.restore(stack, name, work / "db" / (name + ".dump"))
    beneath.remove_tree(work)
    lifecycle.start(stack, stack.ready_s)


def _save_outside(stack: Stack, archive: Path) -> dict[str, Path]:
    """Dumps the databases of a server of the site, which a restore overwrites: its folder cannot be set aside."""
    saved_at = set_aside(stack.folder)[1]
    saved_at.mkdir(mode=0o700)
    _mark(saved_at, archive)
    try:
        dumps = {name: saved_at / (name + ".dump") for name in database.databases(stack)}
        for name, dump in dumps.items():
            database.dump(stack, name, dump)
    except (DifyError, OSError):
        beneath.discard_tree(saved_at)  # nothing was overwritten yet
        raise
    return dumps


def set_aside(folder: Path) -> tuple[Path, Path]:
    """The places of what a restore keeps until Dify answers: the project's folder, and dumps of a site's own server."""
    aside = folder.with_name(folder.name + ".aside")
    return aside, aside.with_name(aside.name + "-db")


def require_nothing_aside(folder: Path) -> None:
    """Refuses where a restore before did not end: what it set aside may be the only copy there is. Raises DifyError."""
    for left in set_aside(folder):
        if left.exists():
            raise DifyError(
                "%s is there: a restore before this one did not end; look what is in it and move it away" % left
            )


def drop_aside(folder: Path, archive: Path) -> None:
    """Removes what a restore of this very archive set aside, which was cut; what another one did stays."""
    for left in set_aside(folder):
        if json_file.read_object(left / ASIDE_OF).get("archive") == str(archive):
            beneath.remove_tree(left)


def _mark(folder: Path, archive: Path) -> None:
    """Writes down for which archive a folder is set aside."""
    json_file.write_atomically(folder / ASIDE_OF, {"archive": str(archive)}, mode=0o600)


def _back(stack: Stack, aside: Path, saved: dict[str, Path]) -> None:
    if (stack.folder / "docker-compose.yaml").exists():
        stack.compose("down", "--remove-orphans", check=False)
    beneath.discard_tree(stack.folder)
    os.rename(aside, stack.folder)
    for name, dump in saved.items():
        database.restore(stack, name, dump)
    (stack.folder / ASIDE_OF).unlink(missing_ok=True)
    beneath.discard_tree(set_aside(stack.folder)[1])
    lifecycle.start(stack, stack.ready_s)
