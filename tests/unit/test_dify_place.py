"""Files that root lays where containers write: a release over a project, a certificate, seeds, `.env`.

What stands in their place goes, be it a link or a FIFO; a folder on the way that is a link refuses them.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from steelyard.modules.operations.dify_stack import UV_CACHE, packed, place_bits
from steelyard_host.dify import env_file, lifecycle, staging
from steelyard_host.dify.stack import RECORD, DifyError
from steelyard_host.system import beneath, json_file

pytestmark = pytest.mark.usefixtures("closes_at_once")
ROOT = Path(__file__).parent.parent.parent
CONF = "volumes/sandbox/conf"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dify"
    (made / CONF).mkdir(parents=True)
    (made / RECORD).write_text(json.dumps({"version": "1", "files": {f"{CONF}/old.yaml": "x", "old": "y"}}))
    (made / CONF / "old.yaml").write_text("old")
    (made / "old").write_text("old")
    return made


@pytest.fixture
def new(tmp_path: Path) -> Path:
    made = tmp_path / "dify.next"
    (made / CONF).mkdir(parents=True)
    (made / RECORD).write_text(json.dumps({"version": "2", "files": {f"{CONF}/config.yaml": "x"}}))
    (made / CONF / "config.yaml").write_text("new")
    (made / ".env").write_text("A=1")
    return made


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    made = tmp_path / "outside"
    made.mkdir()
    for name in ("config.yaml", "old.yaml", "secret"):
        (made / name).write_text("the host's own")
    return made


def is_as_before(outside: Path) -> bool:
    content = {path.name: (path.lstat().st_nlink, path.read_text()) for path in outside.iterdir()}
    return content == dict.fromkeys(("config.yaml", "old.yaml", "secret"), (1, "the host's own"))


# A release over a project


def test_a_release_is_laid_over_its_predecessor(folder: Path, new: Path) -> None:
    (new / CONF / "run.sh").write_text("#!/bin/sh")
    (new / CONF / "run.sh").chmod(0o755)
    staging.lay_over(new, folder)
    assert (folder / CONF / "config.yaml").read_text() == "new"
    assert (folder / CONF / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (folder / CONF / "run.sh").stat().st_mtime == (new / CONF / "run.sh").stat().st_mtime
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        ".env",
        RECORD,
        "config.yaml",
        "run.sh",
    ]


@pytest.mark.parametrize("name", ["config.yaml", "config.yaml.steelyard-new"])
@pytest.mark.parametrize("kind", ["link", "FIFO"])
def test_a_link_or_fifo_in_the_place_of_a_release_s_file_is_replaced(
    folder: Path, new: Path, outside: Path, name: str, kind: str
) -> None:
    waits = folder / CONF / name
    waits.symlink_to(outside / "config.yaml") if kind == "link" else os.mkfifo(waits)
    staging.lay_over(new, folder)
    assert not (folder / CONF / "config.yaml").is_symlink()
    assert (folder / CONF / "config.yaml").read_text() == "new"
    assert is_as_before(outside)


def test_a_folder_that_became_a_link_refuses_a_release_and_nothing_behind_it_changes(
    folder: Path, new: Path, outside: Path
) -> None:
    (folder / CONF / "old.yaml").unlink()
    (folder / CONF).rmdir()
    (folder / CONF).symlink_to(outside)
    with pytest.raises(OSError, match=f"is a link or no folder: '{CONF}'"):
        staging.lay_over(new, folder)
    assert is_as_before(outside)


def test_a_link_in_the_place_of_a_release_s_file_counts_as_changed(folder: Path) -> None:
    (folder / CONF / "config.yaml").write_text("as released")
    lifecycle.install_record(folder, "2", [f"{CONF}/config.yaml"])
    assert lifecycle.state(folder).changed == ()
    (folder / CONF / "config.yaml").rename(folder / "moved")
    (folder / CONF / "config.yaml").symlink_to(folder / "moved")
    assert lifecycle.state(folder).changed == (f"{CONF}/config.yaml",)
    (folder / CONF / "config.yaml").unlink()
    os.mkfifo(folder / CONF / "config.yaml")
    assert lifecycle.state(folder).changed == (f"{CONF}/config.yaml",)


# What a role lays, by the command that it sends


def sent(content: bytes, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command of an operation with the helper of this checkout, and the archive on standard input."""
    import base64

    bits = [bit if isinstance(bit, str) else bit.obj for bit in place_bits(str(folder), *words)]
    command = " ".join(bits).replace("/usr/lib/steelyard/steelyard-host.pyz", "-m steelyard_host").replace(" -I", "")
    command = command.replace("python3", sys.executable)
    given = base64.encodebytes(content).decode()
    return subprocess.run(["sh", "-c", command], input=given, cwd=ROOT / "src", capture_output=True, text=True)


def seed() -> bytes:
    """A plugin's dependencies as `steelyard dify seed` packs them: folders, a program, a link."""
    with io.BytesIO() as stream:
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name, kind in (("wheels", tarfile.DIRTYPE), ("wheels/a", tarfile.REGTYPE), ("b", tarfile.SYMTYPE)):
                member = tarfile.TarInfo(name)
                member.type, member.mode, member.linkname = kind, 0o755, "wheels/a" if kind == tarfile.SYMTYPE else ""
                member.size = 1 if member.isreg() else 0
                archive.addfile(member, io.BytesIO(b"a"))
        return stream.getvalue()


def test_a_seed_is_laid_beside_what_is_there_and_its_mark_last(folder: Path) -> None:
    cache = folder / UV_CACHE
    (cache / "wheels").mkdir(parents=True)
    (cache / "wheels/other").write_text("stays")
    for _ in range(2):
        done = sent(seed(), folder, UV_CACHE, "--mark", ".steelyard-1")
        assert (done.returncode, done.stderr) == (0, "")
    assert sorted(str(path.relative_to(cache)) for path in cache.rglob("*")) == [
        ".steelyard-1",
        "b",
        "wheels",
        "wheels/a",
        "wheels/other",
    ]
    assert (cache / "b").readlink() == Path("wheels/a")
    assert (cache / "wheels/a").stat().st_mode & 0o777 == 0o755
    half = sent(seed()[:-30], folder, UV_CACHE, "--mark", ".steelyard-2")
    assert half.returncode == 1
    assert "is no archive of ours: Compressed file ended" in half.stderr
    assert not (cache / ".steelyard-2").exists()


@pytest.mark.parametrize("link", [UV_CACHE, UV_CACHE.rsplit("/", 1)[0], UV_CACHE + "/wheels"])
def test_a_seed_s_folder_that_is_a_link_gets_no_seed(folder: Path, outside: Path, link: str) -> None:
    (folder / link).parent.mkdir(parents=True)
    (folder / link).symlink_to(outside)
    done = sent(seed(), folder, UV_CACHE, "--mark", ".steelyard-1")
    assert done.returncode == 1
    assert "is a link or no folder; nothing more was laid there" in done.stderr
    assert is_as_before(outside)


def test_a_certificate_s_key_replaces_a_link_and_is_root_s_alone(folder: Path, outside: Path) -> None:
    ssl = folder / "nginx/ssl"
    ssl.mkdir(parents=True)
    (ssl / "dify.key").symlink_to(outside / "secret")
    (ssl / "dify.key.steelyard-new").symlink_to(outside / "secret")
    done = sent(packed({"nginx/ssl/dify.key": b"key"}, 0o600), folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (ssl / "dify.key").is_symlink()
    assert ((ssl / "dify.key").read_text(), (ssl / "dify.key").stat().st_mode & 0o777) == ("key", 0o600)
    assert is_as_before(outside)


def test_a_release_is_placed_where_nothing_is_yet(tmp_path: Path) -> None:
    done = sent(packed({"docker/run.sh": b"#!/bin/sh", "a": b"a"}), tmp_path / "opt/dify")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "opt/dify/docker/run.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "opt/dify/a").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["../outside/secret", "/etc/x", "a/../../x"])
def test_a_name_that_leaves_the_folder_is_refused(folder: Path, outside: Path, name: str) -> None:
    with pytest.raises(DifyError, match="leaves its folder"):
        lifecycle.place(folder, "", io.BytesIO(packed({name: b"x"})))
    assert is_as_before(outside)


# `.env`, and trees that go


def test_env_is_written_past_whatever_waits_at_its_name_beside(
    folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(env_file, "OURS", folder / "none")
    (folder / env_file.TEMPLATE).write_text("A=1\n")
    (folder / ".env.steelyard-new").symlink_to(outside / "secret")
    env_file.write(folder)
    assert (folder / ".env").read_text() == "A=1\n"
    assert is_as_before(outside)


def test_a_secret_file_is_never_one_that_somebody_else_has_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody makes the file between the removal and the making: it is refused, and not filled."""
    path = tmp_path / "secret.json"
    unlink = Path.unlink

    def unlinked(self: Path, **options: Any) -> None:
        unlink(self, **options)
        self.write_text("")

    monkeypatch.setattr(Path, "unlink", unlinked)
    with pytest.raises(FileExistsError):
        json_file.write_atomically(path, "secret", mode=0o600)
    assert (tmp_path / "secret.json.steelyard-new").read_text() == ""


def test_a_tree_is_removed_however_deep_and_links_in_it_alone(folder: Path, outside: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    for level in range(3000):
        os.mkdir("n", dir_fd=handle)
        inner = os.open("n", os.O_RDONLY, dir_fd=handle)
        if level % 1000 == 0:
            os.symlink(outside, "link", dir_fd=handle)
            os.mkfifo("fifo", dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    beneath.remove_tree(folder)
    assert not folder.exists()
    assert is_as_before(outside)
    folder.symlink_to(outside)
    with pytest.raises(OSError, match="is a link or no folder"):
        beneath.remove_tree(folder)
    beneath.discard_tree(folder)
    assert is_as_before(outside)
