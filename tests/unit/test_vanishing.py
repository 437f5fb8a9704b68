"""What goes away while it is looked at: left out, and no error; raced against real processes and real files."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from steelyard.modules.facts.unit import Unit, parse_unit
from steelyard_host.engine import mounts
from steelyard_host.memory import lock
from steelyard_host.mirror import wheels
from steelyard_host.rollout import process_handover
from steelyard_host.store import garbage, publish
from steelyard_host.system import vanishing

LOOKS = 60  # at things that come and go


# Each changes `folder` once. In a process of its own: a thread is a greenlet where a test before has loaded gevent
VERSION = """
for name in "abc":
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "weights").write_bytes(b"x" * 600)
gone = folder.with_name("gone")
folder.rename(gone)
shutil.rmtree(gone)
"""
FILES = """
path = folder / f"a-{number % 7}-py3-none-any.whl"
path.write_text("/models/x")
path.unlink()
"""
GROUP = """
(folder / "inner").mkdir(parents=True, exist_ok=True)
(folder / "inner/cgroup.procs").write_text("7")
(folder / "inner/cgroup.procs").unlink()
(folder / "inner").rmdir()
"""
RACER = """
import itertools, os, shutil, sys
from pathlib import Path
folder, counted = Path(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY)
for number in itertools.count(1):
{change}
    os.pwrite(counted, b"%012d" % number, 0)
"""


@contextmanager
def racing(change: str, folder: Path) -> Iterator[Callable[[], int]]:
    """Do `change` to the folder again and again while the block runs; gives how often it was done by now."""
    counted = folder.with_name(folder.name + ".counted")
    counted.write_text("0")
    script = RACER.format(change=textwrap.indent(change.strip(), "    "))
    racer = subprocess.Popen([sys.executable, "-c", script, str(folder), str(counted)])
    try:
        yield lambda: int(counted.read_text())
        assert racer.poll() is None, "nobody raced"
    finally:
        racer.kill()
        racer.wait()


def looks_until_raced(look: Callable[[], object], made: Callable[[], int]) -> None:
    """At least LOOKS looks, and go on until as many changes were made beside them."""
    looks = itertools.count(1)
    while next(looks) < LOOKS or made() < LOOKS:
        look()


@pytest.mark.parametrize(
    "look",
    [
        lambda folder: vanishing.files(folder),
        lambda folder: vanishing.below(folder),
        lambda folder: vanishing.entries(folder),
        lambda folder: lock.size_of(folder),
        lambda folder: garbage._user(folder, {}, []),
        lambda folder: publish.state(folder.parent.parent.parent, "llm/tiny", "v1"),
    ],
    ids=["files", "below", "entries", "size", "user", "store-state"],
)
def test_a_version_that_comes_and_goes_is_no_error(tmp_path: Path, look: Callable[[Path], object]) -> None:
    folder = tmp_path / ".steelyard/staging" / "llm%2Ftiny@v1"
    folder.parent.mkdir(parents=True)
    with racing(VERSION, folder) as made:
        looks_until_raced(lambda: look(folder), made)


def test_wheels_that_are_replaced_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    with racing(FILES, tmp_path / "files") as made:
        looks_until_raced(lambda: wheels.found(tmp_path), made)


def test_marks_of_held_versions_that_go_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "ASKED", tmp_path / "held")
    monkeypatch.setattr(lock.systemd, "is_active", lambda unit: True)
    (tmp_path / "held").mkdir()
    with racing(FILES, tmp_path / "held") as made:
        looks_until_raced(lock.held, made)


@pytest.fixture
def short_lived() -> Iterator[Callable[[], int]]:
    """Numbers of processes that end about when they are asked for: started by a shell that never stops starting."""
    spawner = subprocess.Popen(
        ["sh", "-c", "while :; do sleep 0 & echo $!; wait; done"], stdout=subprocess.PIPE, text=True
    )
    assert spawner.stdout is not None
    lines = spawner.stdout
    yield lambda: int(lines.readline())
    spawner.kill()
    lines.close()
    spawner.wait()


def test_users_and_mounts_of_processes_that_end_are_no_error(short_lived: Callable[[], int]) -> None:
    for _ in range(LOOKS):
        mounts.mounted_version(short_lived(), "tiny")
    files, _ = garbage.users()
    assert files, "this very process has files open"


def test_a_control_group_that_goes_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_handover, "_group", lambda unit: tmp_path / "unit")
    with racing(GROUP, tmp_path / "unit") as made:
        looks_until_raced(lambda: process_handover.processes("x"), made)


@pytest.mark.parametrize("mount", ["", "/run/m"])
def test_the_state_of_a_unit_whose_process_ends_is_read_all_the_same(
    tmp_path: Path, short_lived: Callable[[], int], mount: str
) -> None:
    """The very command, by a real shell; `systemctl` names a process that is about to end, or has ended."""
    systemctl = tmp_path / "systemctl"
    shown = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\nFragmentPath=/x"
    systemctl.write_text(f'#!/bin/sh\nprintf "%s\\nDropInPaths=\\nMainPID=%s\\n" "{shown}" "$P"\n')
    systemctl.chmod(0o755)
    command = Unit().command(unit="x.service", mount=mount, wanted="/models/x" if mount else "").get_raw_value()
    outcomes = []
    for _ in range(LOOKS):
        done = subprocess.run(
            ["sh", "-c", command],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "P": str(short_lived())},
            capture_output=True,
            text=True,
        )
        outcomes.append((done.returncode, parse_unit(done.stdout.splitlines()).active))
    assert set(outcomes) == {(0, "active")}


def test_a_zombie_is_a_process_that_ended(tmp_path: Path) -> None:
    """Its entry is still there, and nothing in it can be read."""
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()  # it has ended when its pipe has, and nobody waited for it
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert mounts.mounted_version(child.pid, "tiny") is None
        assert subprocess.run(["sh", "-c", f"! test -e /proc/{child.pid}/exe"]).returncode == 0
    finally:
        child.wait()


@pytest.mark.parametrize("number", sorted(vanishing.GONE))
def test_every_way_to_be_gone_counts(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: Path, **_: object) -> str:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "read_text", gone)
    assert vanishing.text(Path("/x")) is None


def test_what_may_not_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, **_: object) -> str:
        raise OSError(errno.EACCES, "Permission denied")

    for name in ("read_text", "iterdir", "stat"):
        monkeypatch.setattr(Path, name, refused)
    for look in (vanishing.text, vanishing.entries, lambda path: list(vanishing.stats([path]))):
        with pytest.raises(PermissionError):
            look(Path("/x"))
