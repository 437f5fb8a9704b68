"""Dify as one verified archive: databases, volumes with the private keys, `.env` and Compose files; and back again.

The archive's last member lists every other with its hash, so one that was cut short is told from a whole one. It is
written under another name, read again byte by byte, and only then gets its own.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from . import dify_database, dify_doing, dify_keys
from .dify_stack import DifyError, Stack, config

LIST = "MANIFEST.json"
LEFT_OUT = ("volumes/db", "volumes/redis", "volumes/certbot/logs")  # dumped apart, a cache, logs
PROVED = ".proved"
MARKS = Path("/var/lib/steelyard/dify/marks.json")


def make(stack: Stack, why: str, stopped: bool = False) -> dict[str, Any]:
    """Write one archive and verify it; what it is. Raises DifyError, and leaves nothing half written behind."""
    lost = dify_keys.lost(stack)
    if lost:
        raise DifyError(
            "no backup: the private keys of workspaces %s are not in %s; with them gone every model key in the database is "
            "lost, so look for them in an older backup first" % (", ".join(lost), dify_keys.KEYS)
        )
    folder = Path(stack.config["backups"])
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _tidy(folder)
    names = dify_database.databases(stack)
    if not names:
        raise DifyError("no backup: none of the databases %s is there" % ", ".join(stack.config["databases"]))
    _require_room(stack, folder, names)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    work = folder / (".partial-" + stamp)
    target = folder / ("dify-%s-%s.tar.gz" % (stack.version() or "unknown", stamp))
    head = {
        "version": stack.version(), "made": stamp, "why": why, "host": socket.gethostname(), "stopped": stopped,
        "databases": names, "config": stack.config,
    }  # fmt: skip
    try:
        work.mkdir(mode=0o700)
        _write(stack, work, head)
        shown = verify(work / "archive")
        os.replace(work / "archive", target)
    except OSError as error:
        raise DifyError("no backup: %s: %s; the ones before are untouched" % (folder, error.strerror)) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return {"archive": str(target), "bytes": target.stat().st_size, "version": head["version"], "files": len(shown["files"])}


def _tidy(folder: Path) -> None:
    """What a run that was killed left, older than a day."""
    for left in folder.glob(".partial-*"):
        if time.time() - left.stat().st_mtime > 86400:
            shutil.rmtree(left, ignore_errors=True)


def _require_room(stack: Stack, folder: Path, names: list[str]) -> None:
    """Raises DifyError with the numbers: a full disk would stop what else lives on it."""
    text = "SELECT coalesce(sum(pg_database_size(datname)), 0) FROM pg_database WHERE datname IN (%s)"
    data = int(dify_database.query(stack, "postgres", text % ", ".join("'%s'" % name for name in names))[0])
    files = _files_size(stack.folder)
    free = shutil.disk_usage(folder).free
    if free < data + files:
        raise DifyError(
            "no backup: it may need %s (%s of databases, %s of files) and %s has %s free; the ones before are untouched"
            % (mib(data + files), mib(data), mib(files), folder, mib(free))
        )


def _files_size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in _files(folder))


def mib(size: int) -> str:
    return "%.0f MiB" % (size / 2**20)


def _files(folder: Path) -> Iterator[Path]:
    """What belongs into the archive, folders too, sorted; other kinds (sockets) are passed over."""
    for at, folders, files in os.walk(folder):
        relative = Path(at).relative_to(folder)
        folders[:] = sorted(name for name in folders if (relative / name).as_posix() not in LEFT_OUT)
        for name in sorted(folders) + sorted(files):
            path = Path(at) / name
            if path.is_symlink() or path.is_file() or path.is_dir():
                yield path


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is read; `moved` is told how many bytes came."""

    def __init__(self, file: IO[bytes], moved: Callable[[int], None]) -> None:
        self._file, self._moved, self.sum = file, moved, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.sum.update(block)
        self._moved(len(block))
        return block


class _Moved:
    """Adds up the bytes of one step, and tells them."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.done, self.total = what, 0, total

    def __call__(self, size: int) -> None:
        self.done += size
        dify_doing.tell(self.what, self.done, self.total)


class _Counted(io.RawIOBase):
    """An archive that is read, told as it is read."""

    def __init__(self, what: str, path: Path) -> None:
        self._file = path.open("rb")
        self._moved = _Moved(what, path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = self._file.readinto(buffer)
        self._moved(size)
        return int(size)

    def close(self) -> None:
        self._file.close()
        super().close()


def _write(stack: Stack, work: Path, head: dict[str, Any]) -> None:
    sums: dict[str, str] = {}
    # the least compression: most of it is dumps and files that are packed already; none while Dify is stopped: `make bench-backup`
    with tarfile.open(work / "archive", "w:gz", compresslevel=0 if head["stopped"] else 1) as archive:
        for name in head["databases"]:
            dump = work / "dump"
            dify_database.dump(stack, name, dump)
            _add(archive, dump, "db/%s.dump" % name, sums, _Moved("archive of database %s" % name, dump.stat().st_size))
            dump.unlink()
        moved = _Moved("archive of the files", _files_size(stack.folder))
        for path in _files(stack.folder):
            try:
                _add(archive, path, "dify/" + path.relative_to(stack.folder).as_posix(), sums, moved)
            except FileNotFoundError:
                continue  # a temporary file of a running service
        text = json.dumps({**head, "files": sums}, indent=1).encode()
        entry = tarfile.TarInfo(LIST)
        entry.size, entry.mode = len(text), 0o600
        archive.addfile(entry, io.BytesIO(text))
    with (work / "archive").open("rb") as written:
        os.fsync(written.fileno())


def _add(archive: tarfile.TarFile, path: Path, name: str, sums: dict[str, str], moved: _Moved) -> None:
    entry = archive.gettarinfo(str(path), name)
    if not entry.isreg():
        archive.addfile(entry)
        sums[name] = entry.linkname
        return
    with path.open("rb") as file:
        hashed = _Hashed(file, moved)
        archive.addfile(entry, hashed)
        sums[name] = hashed.sum.hexdigest()


def verify(path: Path) -> dict[str, Any]:
    """Read every byte; the archive's own list. Raises DifyError: half written, damaged, no archive of ours."""
    found: dict[str, str] = {}
    listed: dict[str, Any] | None = None
    try:
        with _Counted("reading the archive", path) as file_on_disk, gzip.open(file_on_disk) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for entry in archive:
                    file = archive.extractfile(entry) if entry.isreg() else None
                    if entry.name == LIST and file is not None:
                        listed = json.loads(file.read())
                        continue
                    found[entry.name] = entry.linkname if file is None else _sum(file)
            while stream.read(1 << 20):
                pass  # to the end: the sum of all is there
    except (tarfile.TarError, EOFError, ValueError, OSError, zlib.error) as error:
        why = getattr(error, "strerror", None) or "it ends in the middle"
        raise DifyError("%s is half written or damaged: %s" % (path, why)) from error
    if listed is None:
        raise DifyError("%s is half written: its list of files is missing" % path)
    wrong = sorted(name for name in listed["files"].keys() | found.keys() if listed["files"].get(name) != found.get(name))
    if wrong:
        raise DifyError("%s is damaged: %s is not what was written" % (path, wrong[0]))
    return listed


def _sum(file: IO[bytes]) -> str:
    found = hashlib.sha256()
    for block in iter(lambda: file.read(1 << 20), b""):
        found.update(block)
    return found.hexdigest()


def archives(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob("dify-*.tar.gz"), key=lambda path: path.name.rsplit("-", 2)[1:])


def listing(folder: Path) -> list[dict[str, Any]]:
    return [
        {"archive": str(path), "bytes": path.stat().st_size, "at": path.stat().st_mtime, "proved": _is_proved(path)}
        for path in archives(folder)
    ]


def _is_proved(path: Path) -> bool:
    return path.with_name(path.name + PROVED).exists()


def retain(folder: Path, keep: int) -> list[str]:
    """Remove the oldest beyond `keep`; the newest one that a restore proved always stays."""
    every = archives(folder)
    proved = [path for path in every if _is_proved(path)]
    gone = [path for path in every[: max(0, len(every) - keep)] if path not in proved[-1:]]
    for path in gone:
        path.unlink()
        path.with_name(path.name + PROVED).unlink(missing_ok=True)
    return [path.name for path in gone]


def prove(stack: Stack, path: Path) -> dict[str, Any]:
    """Restore its databases beside the real ones, count their tables, and take them away again. Raises DifyError."""
    listed = verify(path)
    work = Path(stack.config["backups"]) / (".partial-proof-%d" % os.getpid())
    tables = {}
    try:
        extract(path, work)
        for name in listed["databases"]:
            scratch = "steelyard_proof_" + name
            dify_database.restore(stack, scratch, work / "db" / (name + ".dump"))
            count = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
            tables[name] = int(dify_database.query(stack, scratch, count)[0])
            dify_database.query(stack, "postgres", 'DROP DATABASE IF EXISTS "%s" WITH (FORCE)' % scratch)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    path.with_name(path.name + PROVED).touch()
    return {"archive": str(path), "version": listed["version"], "tables": tables}


def extract(path: Path, target: Path) -> None:
    """Everything, with owners and modes. Names were checked by `verify` to be those that were written."""
    target.mkdir(mode=0o700, parents=True)
    with _Counted("unpacking the archive", path) as file, tarfile.open(fileobj=file, mode="r|gz") as archive:
        for entry in archive:
            if entry.name.startswith("/") or ".." in Path(entry.name).parts:
                raise DifyError("%s is no archive of ours: it names %s" % (path, entry.name))
            archive.extract(entry, target, numeric_owner=True)


def scheduled(stack: Stack) -> dict[str, Any]:
    """What the timer does: a backup, every so often its proof, and the oldest go."""
    made = make(stack, "scheduled")
    folder, every = Path(stack.config["backups"]), int(stack.config.get("prove_every", 0))
    newest = archives(folder)
    unproved = 0
    for path in reversed(newest):
        if _is_proved(path):
            break
        unproved += 1
    if every and (unproved >= every or unproved == len(newest)):
        made["proved"] = prove(stack, Path(made["archive"]))["tables"]
    made["gone"] = retain(folder, int(stack.config.get("keep", 7)))
    return made


def restore(path: Path) -> dict[str, Any]:
    """Bring the host to the archive. What was there is set aside until Dify answers, and comes back if it does not."""
    begin = time.monotonic()
    listed = verify(path)
    made = listed["config"]
    try:
        made = {**made, **config()}
    except DifyError:
        pass  # an empty host: the archive knows
    folder = Path(made["folder"])
    stack, aside = Stack(made, folder), folder.with_name(folder.name + ".aside")
    if aside.exists():
        raise DifyError("%s is there: a restore before this one did not end; look what is in it and move it away" % aside)
    there = (folder / "docker-compose.yaml").exists()
    saved = _save_outside(stack, aside) if there and made.get("postgres") else {}
    if there:
        stack.compose("down", "--remove-orphans")
        os.rename(folder, aside)
    try:
        _bring(stack, path, listed)
    except (DifyError, OSError) as error:
        why = error if isinstance(error, DifyError) else DifyError("%s: %s" % (folder, error.strerror))
        if not there:
            raise why from error
        _back(stack, aside, saved)
        raise DifyError("the restore failed, what was there before runs again: %s" % why) from error
    MARKS.unlink(missing_ok=True)  # the keys in the archive may be older ones
    for left in (aside, aside.with_name(aside.name + "-db")):
        shutil.rmtree(left, ignore_errors=True)
    return {"version": listed["version"], "archive": str(path), "seconds": round(time.monotonic() - begin, 1)}


def _bring(stack: Stack, path: Path, listed: dict[str, Any]) -> None:
    work = stack.folder.with_name(stack.folder.name + ".restoring")
    shutil.rmtree(work, ignore_errors=True)
    extract(path, work)
    os.rename(work / "dify", stack.folder)
    stack.folder.chmod(0o755)
    dify_database.start(stack, stack.ready_s)
    for name in listed["databases"]:
        dify_database.restore(stack, name, work / "db" / (name + ".dump"))
    shutil.rmtree(work)
    stack.up(stack.ready_s)


def _save_outside(stack: Stack, aside: Path) -> dict[str, Path]:
    """Dumps of the databases of another server, which a restore overwrites: its folder cannot be set aside."""
    kept = aside.with_name(aside.name + "-db")
    kept.mkdir(mode=0o700, exist_ok=True)
    found = {}
    for name in dify_database.databases(stack):
        found[name] = kept / (name + ".dump")
        dify_database.dump(stack, name, found[name])
    return found


def _back(stack: Stack, aside: Path, saved: dict[str, Path]) -> None:
    if (stack.folder / "docker-compose.yaml").exists():
        stack.compose("down", "--remove-orphans", check=False)
    shutil.rmtree(stack.folder, ignore_errors=True)
    os.rename(aside, stack.folder)
    for name, dump in saved.items():
        dify_database.restore(stack, name, dump)
    stack.up(stack.ready_s)
