"""Long work on the Dify host: what it is at, and what came of it."""

from __future__ import annotations

import subprocess
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.command import StringCommand

from steelyard.api.host_error import HostError
from steelyard.artifacts.helper import HELPER
from steelyard.errors import DifyHostRefused, HostUnreachable
from steelyard.events import BytesMoved
from steelyard.modules.connectors.helper_call import helper_document
from steelyard.workflows import dify_host
from steelyard.workflows.dify_host import DifyHost
from steelyard_host.dify import archive as archives
from steelyard_host.dify import job_progress
from steelyard_host.errors import HelperError
from steelyard_host.wire.codec import to_json
from steelyard_host.wire.dify import Backup, Progress, Pulled


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_progress, "FOLDER", tmp_path / "doing")
    monkeypatch.setattr(job_progress, "_last_told", 0.0)


def test_what_came_of_a_work_is_kept_and_why_it_did_not() -> None:
    def refused() -> None:
        raise HelperError("no backup: the disk is full")

    answer = {"archive": "a", "bytes": 5, "version": None, "files": 1, "passed_over": [], "passed_over_count": 0}
    assert job_progress.carry_out("1", lambda: Backup("a", 5, None, 1)) == 0
    assert to_json(job_progress.state("none.service")) == {
        "active": False,
        "doing": None,
        "ended": {"number": "1", "answer": answer},
    }
    assert job_progress.carry_out("2", refused) == 0
    ended = job_progress.state("none.service").ended
    assert to_json(ended) == {"number": "2", "why": "no backup: the disk is full"}


def test_bytes_are_told_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(job_progress, "_write", lambda name, progress: kept.append(progress.done))
    for done in range(1, 101):
        job_progress.tell("archive", done, 100)
    assert kept == [1, 100]


def test_a_file_that_another_program_writes_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_progress, "TELL_S", 0.01)
    with (tmp_path / "dump").open("wb", buffering=0) as file, job_progress.watched("dump", file.fileno(), 100):
        file.write(b"x" * 40)
        end = time.monotonic() + 10
        while job_progress.current() != Progress("dump", 40, 100):
            assert time.monotonic() < end, "nobody looked"
            time.sleep(0.01)


def test_an_archive_is_told_by_its_bytes_on_disk_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr(job_progress, "tell", lambda *each: told.append(each))
    (tmp_path / "file").write_bytes(bytes(range(256)) * 4096)
    path = tmp_path / "dify.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tmp_path / "file", "dify/file")
    archives.extract(path, tmp_path / "out")
    size = path.stat().st_size
    assert (tmp_path / "out/dify/file").read_bytes() == (tmp_path / "file").read_bytes()
    assert [each[1] for each in told] == sorted(each[1] for each in told)
    assert told[-1] == ("unpacking the archive", size, size)


class Helper:
    """What a host answers, in order; the work's number is put in, and None is a connection that breaks."""

    def __init__(self, *answers: dict[str, Any] | None) -> None:
        self.answers, self.number = list(answers), ""

    def __call__(self, host: Any, *words: str, **_: Any) -> dict[str, Any] | None:
        if words[0] == "dify-work":
            self.number = words[1]
            return None
        found = self.answers.pop(0)
        if found is None:
            raise HostError(HostUnreachable(where="dify-1", address="10.0.0.1", why="connection reset"))
        if found["ended"] and "number" not in found["ended"]:
            found["ended"]["number"] = self.number
        return found


PULLED = {"version": None, "seconds": 2.0}
IDLE: dict[str, Any] = {"active": False, "doing": None, "ended": None}


def worked(monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any] | None) -> tuple[Pulled, list[BytesMoved]]:
    shown: list[Any] = []
    host: Any = SimpleNamespace(name="dify-1", connector=SimpleNamespace(again=lambda: None))
    monkeypatch.setattr(dify_host, "helper_document", Helper(*answers))
    monkeypatch.setattr("gevent.sleep", lambda seconds: None)
    return DifyHost(host, shown.append).work(Pulled, "dify-pull"), shown


def test_a_work_is_shown_and_its_answer_comes_when_its_unit_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"number": "another", "answer": {}}
    found, shown = worked(
        monkeypatch,
        IDLE,
        {"active": True, "doing": {"what": "archive", "done": 1, "total": 2}, "ended": old},
        {"active": True, "doing": None, "ended": {"answer": PULLED}},
        {"active": False, "doing": None, "ended": {"answer": PULLED}},
    )
    assert (found, shown) == (Pulled(None, 2.0), [BytesMoved("dify-1", "archive", 1, 2)])


@pytest.mark.parametrize(
    ("ended", "why"), [({"why": "the disk is full"}, "the disk is full"), (None, f"journalctl -u {dify_host.UNIT}")]
)
def test_a_work_that_does_not_end_well_is_told(monkeypatch: pytest.MonkeyPatch, ended: Any, why: str) -> None:
    with pytest.raises(DifyHostRefused, match=why):
        worked(monkeypatch, IDLE, {"active": False, "doing": None, "ended": ended})


def test_a_connection_that_breaks_loses_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    done = {"active": False, "doing": None, "ended": {"answer": PULLED}}
    assert worked(monkeypatch, IDLE, None, None, done)[0] == Pulled(None, 2.0)


def test_one_work_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DifyHostRefused, match="other work on Dify goes on there"):
        worked(monkeypatch, {**IDLE, "active": True})


def test_a_host_that_cannot_say_what_it_is_at_does_its_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "doing").write_text("no folder")
    job_progress.tell("archive", 1, 1)


@pytest.mark.parametrize("known", [0, 1])
def test_work_begins_in_the_place_of_one_that_was_killed(tmp_path: Path, known: int) -> None:
    """With stand-ins of systemd's programs: the name is free when it is taken, whether or not there was a unit."""
    said = tmp_path / "said"
    for name, status in (("systemctl", known), ("systemd-run", 0)):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {said}\necho told >&2\nexit {status}\n')
        program.chmod(0o755)
    ran: list[str] = []

    def run_shell_command(command: StringCommand, **_: Any) -> tuple[bool, SimpleNamespace]:
        ran.append(command.get_raw_value().replace(HELPER, str(said.parent)))
        return True, SimpleNamespace(stdout_lines=[], stderr_lines=[])

    host: Any = SimpleNamespace(name="dify-1", data={}, run_shell_command=run_shell_command)
    helper_document(host, "dify-switch", unit="steelyard-dify-work", wait=False)
    done = subprocess.run(
        ["/bin/sh", "-c", ran[0]], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode == 0
    first, second = said.read_text().splitlines()
    assert first == "systemctl reset-failed steelyard-dify-work"
    assert second.startswith("systemd-run --quiet --collect --unit=steelyard-dify-work")
    assert done.stderr == "told\n", "what a name that nobody has is told goes nowhere"
