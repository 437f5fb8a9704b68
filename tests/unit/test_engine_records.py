"""What a run leaves behind on the controller: the journal that resuming reads, and the lock's way to tell who is
gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from steelyard.engine.journal import ApplyJournal
from steelyard.engine.run_owner import ProcessPlace, RunOwner, process_start
from steelyard.engine.saved import SavedPlan, differences
from steelyard.errors import NothingToResume


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ApplyJournal:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return ApplyJournal(tmp_path / "site", Path("site.py"))


def test_what_failed_and_what_was_not_finished_is_left(journal: ApplyJournal) -> None:
    journal.begin(RunOwner.here("apply"), ("a", "b", "c"))
    assert journal.left() == ("a", "b", "c")
    journal.finished("a", True)
    journal.finished("b", False)
    assert journal.left() == ("b", "c")
    journal.begin(RunOwner.here("apply"), ("b", "c"))
    journal.finished("b", True)
    assert journal.left() == ("c",)


def test_a_line_that_a_kill_tore_counts_as_not_finished(journal: ApplyJournal) -> None:
    journal.begin(RunOwner.here("apply"), ("a", "b"))
    journal.finished("a", True)
    with journal.path.open("a") as file:
        file.write('{"host": "b", "we')
    assert journal.left() == ("b",)


def test_without_an_earlier_run_there_is_nothing_to_resume(journal: ApplyJournal) -> None:
    with pytest.raises(NothingToResume):
        journal.left()
    journal.path.parent.mkdir(parents=True)
    journal.path.write_text("")
    with pytest.raises(NothingToResume):
        journal.left()


def test_a_run_of_this_place_is_gone_when_its_process_is() -> None:
    here = RunOwner.here("apply")
    assert not here.is_gone()
    process = subprocess.Popen(["sleep", "60"])
    try:
        living = replace(here, pid=process.pid, process_start=process_start(process.pid) or "")
        assert not living.is_gone()
        assert replace(living, process_start="1").is_gone(), "another process has its number now"
    finally:
        process.kill()
        process.wait()
    assert living.is_gone()
    assert replace(living, host="renamed").is_gone(), "a host name tells nothing"


@pytest.mark.parametrize("unlike", ["machine", "boot", "pid_namespace"])
@pytest.mark.parametrize("value", ["another", ""])
def test_of_a_run_of_another_place_nobody_knows(unlike: str, value: str) -> None:
    """Another machine of the same host name, the same machine after a reboot, another container; and locks of before,
    which do not say.
    """
    no_such_process = replace(RunOwner.here("apply"), process_start="1")
    assert no_such_process.is_gone()
    assert not replace(no_such_process, **{unlike: value}).is_gone()  # type: ignore[arg-type]  # they are all text
    assert not replace(no_such_process, process_start="").is_gone()


def test_of_a_process_that_may_not_be_looked_at_nobody_knows() -> None:
    owner = RunOwner.here("apply")
    assert not owner.is_gone(start_of=lambda pid: None), "its owner hides it (hidepid)"
    assert owner.is_gone(start_of=lambda pid: "")
    assert process_start(2**22 + 1) == "", "no process has such a number"
    assert process_start(2**80) is None


def test_another_pid_namespace_of_this_machine_is_another_place() -> None:
    program = "from steelyard.engine.run_owner import ProcessPlace; print(*ProcessPlace.here())"
    words = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    there, here = ProcessPlace(*done.stdout.split()), ProcessPlace.here()
    assert (there.machine, there.boot) == (here.machine, here.boot)
    assert there.pid_namespace != here.pid_namespace
    gone = replace(RunOwner.here("apply"), process_start="1")
    assert gone.is_gone()
    assert not gone.is_gone(there)


def test_the_id_of_this_machine_does_not_leave_it() -> None:
    stored = Path("/etc/machine-id")
    if not stored.exists():
        pytest.skip("this machine has no id")
    machine = RunOwner.here("apply").machine
    assert len(machine) == 32
    assert stored.read_text().strip() not in machine


def test_an_owner_is_read_as_it_was_written_by_this_version_and_before() -> None:
    here = RunOwner.here("apply")
    assert RunOwner.from_json(here.as_json()) == here
    keys = {"run", "who", "host", "pid", "boot", "begun", "since", "doing"}
    assert here.as_json().keys() == {*keys, "machine", "pid_namespace"}, "locks on hosts are read by older versions"
    assert list(here.as_json()) == RunOwner.json_keys()
    assert here.pid == os.getpid()
    before = {key: value for key, value in here.as_json().items() if key in keys}
    assert RunOwner.from_json(before) == replace(here, machine="", pid_namespace="")


def test_what_moved_is_told_line_by_line() -> None:
    def task(code: str, seal: str, line: str = "write /x  [a -> b]") -> dict[str, object]:
        return {"code": code, "seal": seal, "commands": [line]}

    saved = SavedPlan(
        "i",
        "all",
        "site",
        "now",
        "salt",
        {"a": [task("r.one", "1"), task("r.two", "2")], "b": [task("r.one", "1")]},
        {},
    )
    assert differences(saved, {"a": [task("r.one", "1"), task("r.two", "2")], "b": [task("r.one", "1")]}) == []
    twice = SavedPlan("i", "all", "site", "now", "salt", {"a": [task("r.one", "1"), task("r.one", "2")]}, {})
    assert differences(twice, {"a": [task("r.one", "1"), task("r.one", "2")]}) == []
    assert len(differences(twice, {"a": [task("r.one", "2")]})) == 3, "of a task in a loop each turn counts"
    lines = differences(saved, {"a": [task("r.one", "9"), task("r.two", "2")], "c": [task("r.new", "3", "rm /y")]})
    assert lines == [
        "- a: r.one: write /x  [a -> b]",
        "+ a: r.one: write /x  [a -> b]  (the part that is not shown differs)",
        "- b: r.one: write /x  [a -> b]",
        "+ c: r.new: rm /y",
    ]
