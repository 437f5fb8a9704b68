"""An archive of volumes that a container writes: what it holds, what is passed over, what an extraction refuses."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steelyard.render.dify import show_backup
from steelyard.render.screen import Screen
from steelyard_host.dify import archive, job_progress, tenant_keys
from steelyard_host.dify.stack import DifyError, Stack
from steelyard_host.system import beneath
from steelyard_host.wire.codec import to_json
from steelyard_host.wire.dify import ArchiveList, Backup, PassedOver

pytestmark = pytest.mark.usefixtures("closes_at_once")
HEAD = ArchiveList("1.16.1", "20260101-030000", "test", "here", (), {}, {})
VOLUME = "volumes/plugin_daemon"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dify"
    (made / VOLUME / "d").mkdir(parents=True)
    (made / VOLUME / "d/f").write_text("the volume's")
    (made / "docker-compose.yaml").write_text("services: {}")
    return made


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    made = tmp_path / "outside"
    made.mkdir()
    (made / "secret").write_text("the host's own")
    return made


def written(folder: Path) -> tuple[Path, ArchiveList]:
    """An archive of the folder, verified, and its list."""
    work = folder.parent / "work"
    work.mkdir(exist_ok=True)
    stack = Stack({"folder": str(folder), "project": "dify", "port": 80})
    listed = archive.write(stack, work, HEAD)
    assert archive.verify(work / "archive") == listed
    return work / "archive", listed


def told(listed: ArchiveList) -> dict[str, str]:
    assert listed.passed_over_count == len(listed.passed_over)
    return {entry.name.removeprefix(VOLUME + "/"): entry.why for entry in listed.passed_over}


def shape(top: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a folder as a restore has to bring it: mode, owner, time, content, names of one file."""
    found, first = {}, {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        owner = (oct(status.st_mode), status.st_uid, status.st_gid)
        if path.is_symlink():
            found[str(path.relative_to(top))] = (*owner, str(path.readlink()))
        elif path.is_dir():
            found[str(path.relative_to(top))] = owner
        else:
            same = first.setdefault(status.st_ino, str(path.relative_to(top)))
            found[str(path.relative_to(top))] = (*owner, status.st_mtime, path.read_bytes(), same)
    return found


# What is written


def test_what_is_neither_file_folder_nor_link_is_told_and_the_archive_goes_on(folder: Path) -> None:
    os.mkfifo(folder / VOLUME / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / VOLUME / "socket"))
        _, listed = written(folder)
    assert told(listed) == {"fifo": "is a FIFO", "socket": "is a socket"}
    assert f"dify/{VOLUME}/d/f" in listed.files


def test_names_of_what_was_passed_over_do_not_fill_the_record(folder: Path) -> None:
    for number in range(archive.MOST_TOLD + 50):
        os.mkfifo(folder / VOLUME / f"fifo-{number}")
    _, listed = written(folder)
    assert (len(listed.passed_over), listed.passed_over_count) == (archive.MOST_TOLD, archive.MOST_TOLD + 50)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: os.truncate(path, 5), "became shorter while it was read; the rest of it is zeros"),
        (lambda path: path.unlink(), None),
        (lambda path: (path.unlink(), path.write_text("another")), None),
    ],
    ids=["shorter", "gone", "replaced"],
)
def test_a_file_that_changes_while_it_is_read_ends_no_backup(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], why: str | None
) -> None:
    large = folder / VOLUME / "large"
    large.write_bytes(b"x" * (8 << 20))
    begun: list[str] = []

    def tell(what: str, done: int, total: int) -> None:
        if done >= 1 << 20 and what == "archive of the files" and not begun:
            begun.append(what)
            change(large)

    monkeypatch.setattr(job_progress, "tell", tell)
    made, listed = written(folder)
    assert begun
    assert told(listed) == ({"large": why} if why else {})
    archive.extract(made, folder.parent / "out")
    content = (folder.parent / "out/dify" / VOLUME / "large").read_bytes()
    assert len(content) == 8 << 20
    assert content[:5] == b"xxxxx"


def test_a_folder_that_is_swapped_while_the_walk_is_in_it_stays_the_folder_that_it_was(
    folder: Path, outside: Path
) -> None:
    names, volume = [], folder / VOLUME
    with beneath.opened(folder) as top:
        for entry in beneath.walk(top, (), lambda name, why: None):
            names.append(entry.name)
            if entry.name == f"{VOLUME}/d":
                (volume / "d").rename(volume / "z")
                (volume / "d").symlink_to(outside)
    assert f"{VOLUME}/d/f" in names
    assert not [name for name in names if name.endswith("secret")]


def test_a_file_that_is_swapped_for_a_link_is_no_way_to_what_the_link_names(folder: Path, outside: Path) -> None:
    read, swapped = [], folder / VOLUME / "d/f"
    with beneath.opened(folder) as top:
        for entry in beneath.walk(top, (), lambda name, why: None):
            if entry.name == f"{VOLUME}/d/f":
                swapped.unlink()
                swapped.symlink_to(outside / "secret")
                with beneath.reading(entry.handle) as file:
                    read.append(file.read())
    assert read == [b"the volume's"]


@pytest.mark.parametrize("depth", [100, 400])
def test_whatever_a_container_names_sets_or_nests_a_backup_is_made_and_restored(folder: Path, depth: int) -> None:
    volume = folder / VOLUME
    for name in (b"\xff\xfe not UTF-8", b"new\nline", b"x" * 255, "ü".encode(), b" -rf "):
        (volume / os.fsdecode(name)).write_bytes(name)
    (volume / "link").symlink_to(os.fsdecode(b"\xff/" + b"y" * 3000))
    for early_or_late, at in (("early", -5_000_000_000), ("late", 2**33)):
        (volume / early_or_late).touch()
        os.utime(volume / early_or_late, (at, at))
    handle = os.open(volume, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("n", dir_fd=handle)
        inner = os.open("n", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    made, listed = written(folder)
    out = folder.parent / "out"
    archive.extract(made, out)
    if depth < beneath.DEEPEST:
        assert told(listed) == {}
        assert shape(out / "dify") == shape(folder)
    else:
        assert list(told(listed).values()) == [f"lies in more than {beneath.DEEPEST} folders"]
    for top in (out, folder):
        beneath.remove_tree(top)
        assert not top.exists()


def test_owners_modes_times_links_and_second_names_come_back(folder: Path) -> None:
    volume = folder / VOLUME
    for name, mode in (("run.sh", 0o755), ("private.pem", 0o600), ("setuid", 0o4755)):
        (volume / name).write_text(name)
        if os.geteuid() == 0:
            os.chown(volume / name, 1001, 1002)
        (volume / name).chmod(mode)
        os.utime(volume / name, (1_600_000_000.25, 1_600_000_000.25))
    (volume / "d/again").hardlink_to(volume / "run.sh")
    (volume / "link").symlink_to("/etc/passwd")
    (volume / "d").chmod(0o1770)
    made, listed = written(folder)
    archive.extract(made, folder.parent / "out")
    assert shape(folder.parent / "out/dify") == shape(folder)
    assert listed.files[f"dify/{VOLUME}/run.sh"] == f"dify/{VOLUME}/d/again"  # which was met first


def test_archives_that_were_written_before_are_restored(folder: Path, outside: Path) -> None:
    """In the way of 5e44696: every folder's entries before those of its folders, by names, by tarfile's own look."""
    volume = folder / VOLUME
    (volume / "second").hardlink_to(volume / "d/f")
    (volume / "link").symlink_to(outside)
    path, sums = folder.parent / "before.tar.gz", {"db/dify.dump": hashlib.sha256(b"dump").hexdigest()}
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        entry = tarfile.TarInfo("db/dify.dump")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"dump"))
        for at, folders, files in os.walk(folder):
            for name in sorted(folders) + sorted(files):
                below = "dify/" + Path(at, name).relative_to(folder).as_posix()
                entry = tar.gettarinfo(str(Path(at, name)), below)
                content = Path(at, name).read_bytes() if entry.isreg() else b""
                tar.addfile(entry, io.BytesIO(content))
                sums[below] = hashlib.sha256(content).hexdigest() if entry.isreg() else entry.linkname
        document = to_json(HEAD._replace(files=sums))
        del document["passed_over"], document["passed_over_count"]
        text = json.dumps(document, indent=1).encode()
        entry = tarfile.TarInfo(archive.LIST)
        entry.size, entry.mode = len(text), 0o600
        tar.addfile(entry, io.BytesIO(text))
    assert archive.verify(path).passed_over == ()
    archive.extract(path, folder.parent / "out")
    assert shape(folder.parent / "out/dify") == shape(folder)
    assert (folder.parent / "out/db/dify.dump").read_bytes() == b"dump"


# What is refused


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, 0o755
    made.size = 4 if kind == tarfile.REGTYPE else 0
    return made


LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE = {
    "a file below a link": ([member("dify/d", LINK, "OUTSIDE"), member("dify/d/x")], "lies below dify/d, which is a"),
    "a folder below a link": (
        [member("dify/d", LINK, "OUTSIDE"), member("dify/d/e", tarfile.DIRTYPE), member("dify/d/e/x")],
        "dify/d/e lies below dify/d, which is a link",
    ),
    "a file in the place of a link": (
        [member("dify/x", LINK, "OUTSIDE/secret"), member("dify/x")],
        "it names dify/x twice",
    ),
    "a folder that becomes a link": (
        [member("dify/d", tarfile.DIRTYPE), member("dify/d", LINK, "OUTSIDE"), member("dify/d/x")],
        "it names dify/d twice",
    ),
    "a link in the place of the project": ([member("dify", LINK, "OUTSIDE"), member("dify/x")], "neither below db nor"),
    "a second name of a file outside": (
        [member("dify/x", HARD, "../outside/secret"), member("dify/y")],
        "it names ../outside/secret, which leaves its folder",
    ),
    "a second name of a link": (
        [member("dify/l", LINK, "OUTSIDE/secret"), member("dify/x", HARD, "dify/l")],
        "dify/x is a second name of dify/l, which is no file in it",
    ),
    "a second name through a link": (
        [member("dify/l", LINK, "OUTSIDE"), member("dify/x", HARD, "dify/l/secret")],
        "dify/l/secret lies below dify/l, which is a link",
    ),
    "a name above": ([member("dify/../../outside/x")], "which leaves its folder"),
    "an absolute name": ([member("OUTSIDE/x")], "which leaves its folder"),
    "a device": ([member("dify/null", tarfile.CHRTYPE)], "dify/null is neither file, folder nor link"),
    "a FIFO": ([member("dify/fifo", tarfile.FIFOTYPE)], "dify/fifo is neither file, folder nor link"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_archive_with_what_none_of_ours_has_is_refused_before_anything_lies_outside(
    case: str, tmp_path: Path, outside: Path
) -> None:
    members, why = HOSTILE[case]
    path, sums = tmp_path / "hostile.tar.gz", {}
    with tarfile.open(path, "w:gz") as tar:
        for entry in members:
            made = member(entry.name.replace("OUTSIDE", str(outside)), entry.type)
            made.linkname = entry.linkname.replace("OUTSIDE", str(outside))
            tar.addfile(made, io.BytesIO(b"evil"))
            sums[made.name] = hashlib.sha256(b"evil").hexdigest() if made.isreg() else made.linkname
        text = json.dumps(to_json(HEAD._replace(files=sums))).encode()
        entry = tarfile.TarInfo(archive.LIST)
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    with pytest.raises(DifyError) as verified:
        archive.verify(path)
    with pytest.raises(DifyError) as extracted:
        archive.extract(path, tmp_path / "a/b/out")
    for refused in (verified, extracted):
        assert "is no archive of ours: " in str(refused.value)
        assert why in str(refused.value)
    assert {entry.name: entry.lstat().st_nlink for entry in outside.iterdir()} == {"secret": 1}
    assert (outside / "secret").read_text() == "the host's own"


# What else is read below the volumes


@pytest.mark.parametrize("kind", ["link", "folder is a link", "FIFO"])
def test_a_private_key_is_a_file_of_the_volume_s_own_or_lost(
    folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(tenant_keys, "query", lambda *_: ["t1 PUBLIC|"])
    asked: list[bytes] = []
    monkeypatch.setattr(tenant_keys, "_fits", lambda private, public: asked.append(private) or bool(private))
    stack = Stack({"folder": str(folder), "project": "dify", "port": 80})
    tenant = folder / tenant_keys.KEYS / "t1"
    tenant.parent.mkdir(parents=True)
    (outside / "private.pem").write_text("the host's own")
    if kind == "folder is a link":
        tenant.symlink_to(outside)
    else:
        tenant.mkdir()
        key = tenant / "private.pem"
        key.symlink_to(outside / "private.pem") if kind == "link" else os.mkfifo(key)
    assert tenant_keys.lost(stack) == ["t1"]
    assert asked == [b""]


def test_what_was_passed_over_is_told_in_words_and_as_json_whatever_it_is_called(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("volumes/a", "volumes/\x1b[2J", os.fsdecode(b"volumes/\xff"), "volumes/d")
    passed = tuple(PassedOver(name, "is a FIFO") for name in names)
    made = Backup("/var/backups/dify/a.tar.gz", 1, "1.16.1", 3, passed, 200)
    show_backup(Screen(), "dify-1", made, None)
    said = capsys.readouterr().out
    assert "; passed over: volumes/a is a FIFO, " in said
    assert "and 197 more, see --json" in said
    assert "\x1b" not in said
    show_backup(Screen(json=True), "dify-1", made, None)
    document = json.loads(capsys.readouterr().out)
    assert (len(document["passed_over"]), document["passed_over_count"]) == (4, 200)
