"""What a run leaves behind on the controller: the journal that resuming reads, and the lock's way to tell who is gone."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from steelyard.engine.journal import Journal
from steelyard.engine.saved import SavedPlan, moved
from steelyard.errors import NothingToResume
from steelyard.origin import Origin


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Journal(tmp_path / "site", Path("site.py"))


def test_what_failed_and_what_was_not_finished_is_left(journal: Journal) -> None:
    journal.begin(Origin.here("apply"), ("a", "b", "c"))
    assert journal.left() == ("a", "b", "c")
    journal.finished("a", True)
    journal.finished("b", False)
    assert journal.left() == ("b", "c")
    journal.begin(Origin.here("apply"), ("b", "c"))
    journal.finished("b", True)
    assert journal.left() == ("c",)


def test_a_line_that_a_kill_tore_counts_as_not_finished(journal: Journal) -> None:
    journal.begin(Origin.here("apply"), ("a", "b"))
    journal.finished("a", True)
    with journal.path.open("a") as file:
        file.write('{"host": "b", "we')
    assert journal.left() == ("b",)


def test_without_an_earlier_run_there_is_nothing_to_resume(journal: Journal) -> None:
    with pytest.raises(NothingToResume):
        journal.left()
    journal.path.parent.mkdir(parents=True)
    journal.path.write_text("")
    with pytest.raises(NothingToResume):
        journal.left()


def test_a_run_of_this_machine_is_gone_when_its_process_is() -> None:
    here = Origin.here("apply")
    assert not here.is_gone()
    process = subprocess.Popen(["sleep", "60"])
    try:
        from steelyard import origin

        living = replace(here, pid=process.pid, begun=origin._begun(process.pid))
        assert not living.is_gone()
        assert replace(living, begun="1").is_gone(), "another process has its number now"
    finally:
        process.kill()
        process.wait()
    assert living.is_gone()
    assert replace(here, boot="another").is_gone()
    assert not replace(living, host="elsewhere").is_gone(), "of another machine nobody knows"
    assert Origin.from_json(here.as_json()) == here
    assert here.pid == os.getpid()


def test_what_moved_is_told_line_by_line() -> None:
    def task(code: str, seal: str, line: str = "write /x  [a -> b]") -> dict[str, object]:
        return {"code": code, "seal": seal, "commands": [line]}

    saved = SavedPlan(
        "i", "all", "site", "now", "salt", {"a": [task("r.one", "1"), task("r.two", "2")], "b": [task("r.one", "1")]}, {}
    )
    assert moved(saved, {"a": [task("r.one", "1"), task("r.two", "2")], "b": [task("r.one", "1")]}) == []
    twice = SavedPlan("i", "all", "site", "now", "salt", {"a": [task("r.one", "1"), task("r.one", "2")]}, {})
    assert moved(twice, {"a": [task("r.one", "1"), task("r.one", "2")]}) == []
    assert len(moved(twice, {"a": [task("r.one", "2")]})) == 3, "of a task in a loop each turn counts"
    lines = moved(saved, {"a": [task("r.one", "9"), task("r.two", "2")], "c": [task("r.new", "3", "rm /y")]})
    assert lines == [
        "- a: r.one: write /x  [a -> b]",
        "+ a: r.one: write /x  [a -> b]  (the part that is not shown differs)",
        "- b: r.one: write /x  [a -> b]",
        "+ c: r.new: rm /y",
    ]
