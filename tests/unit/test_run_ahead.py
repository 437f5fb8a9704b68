"""Tasks sent ahead: several go to the host at once, and each is told as if it had gone alone.

Hosts are this machine, with real shells. What is counted is round trips; what must hold is that the host ends up as it
does when every task goes alone, and that what is told is what happened.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from support.here import ME, Here, session_here, trips

from steelyard.api.outcome import HostOutcome
from steelyard.engine.audit import Audit
from steelyard.engine.execute import Execution
from steelyard.engine.plan import HostPlan, Plan
from steelyard.engine.run_ahead import MOST_COMMANDS, RunAhead
from steelyard.engine.run_owner import RunOwner
from steelyard.engine.waves import FailLimit
from steelyard.errors import LockLost
from steelyard.events import TaskEnded, TaskStarted
from steelyard.modules.connectors import frames

HEAD = f"""
from collections.abc import Generator
from pathlib import Path
from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.operations import server
from steelyard.api.change import Change
from steelyard.api.foreseen import foreseen
from steelyard.api.task_group import task_group
from steelyard.modules.facts.path import Content, Path as PathFact
from steelyard.modules.operations.line import line
from steelyard.modules.operations.path import file, file_absent, folder, link

ME = {ME!r}

@foreseen
@operation()
def does(command):
    yield Change(command, subject="a thing", declared="done", live="not done")
"""
Events = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(frames, "AUDIT_LOG", str(tmp_path / "log" / "audit.log"))


def apply(
    folder: Path,
    tasks: str,
    between: Callable[[], Any] = lambda: None,
    at: Callable[[Execution, type, str], Any] = lambda execution, kind, title: None,
) -> tuple[Plan, int, Events]:
    """Plan and apply; return what was done, the round trips of the apply, and what was told. `between` comes after
    the look, `at` gets each beginning and end of a task.
    """
    told: Events = []
    with session_here(folder, HEAD + tasks) as session:
        session.look(keep=True)
        looked = trips(session)[0]
        between()
        execution = Execution(session, FailLimit(1, None), Audit(RunOwner.here("test"), lambda text: text))

        def emit(event: object) -> None:
            if isinstance(event, TaskStarted | TaskEnded):
                title = event.title.split(" | ")[-1]
                told.append((type(event).__name__, title))
                at(execution, type(event), title)

        session.emit = emit
        plan = execution.run([tuple(session.names)])
        return plan, trips(session)[0] - looked, told


def until(path: str) -> str:
    """A command that waits for a file, and fails where it does not come."""
    return f"N=0; while ! test -e {path}; do sleep 0.05; N=$((N + 1)); test $N -lt 400 || exit 9; done"


def alone(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> Any:
    """What `work` gives where each task goes alone."""
    with monkeypatch.context() as context:
        context.setattr(RunAhead, "_connector", lambda *_: None)
        return work()


def done(plan: Plan) -> tuple[HostPlan, str]:
    [host] = plan.hosts
    return replace(host, traffic=None, error=None, more_errors=()), str(host.error)


def test_forty_changes_go_in_a_handful_of_round_trips(tmp_path: Path) -> None:
    tasks = "".join(f'folder(name="Make {n}", path="{tmp_path}/{n}", mode="0750", **ME)\n' for n in range(40))
    plan, counted, told = apply(tmp_path, tasks)
    assert plan.changes == 40
    assert counted == 40 / MOST_COMMANDS
    assert told == [(kind, f"Make {n}") for n in range(40) for kind in ("TaskStarted", "TaskEnded")]
    log = [json.loads(row) for row in (tmp_path / "log" / "audit.log").read_text().splitlines()]
    assert [(row["task"], row["exit"]) for row in log] == [(f"deploy | Make {n}", 0) for n in range(40)]


def test_what_is_in_sync_among_changes_costs_nothing_of_its_own(tmp_path: Path) -> None:
    for number in range(40):
        if number != 20:
            (tmp_path / str(number)).mkdir(mode=0o750)
    tasks = "".join(f'folder(name="Make {n}", path="{tmp_path}/{n}", mode="0750", **ME)\n' for n in range(40))
    plan, counted, _ = apply(tmp_path, tasks)
    assert [task.name for task in plan.hosts[0].tasks] == ["Make 20"]
    assert counted == 1


def test_a_task_sees_what_an_earlier_one_of_the_run_did(tmp_path: Path) -> None:
    at = tmp_path / "f"
    tasks = f"""
file(name="Write", path="{at}", content="a=1\\n", **ME)
line(name="Set", path="{at}", line="a=2", match="^a=")
line(name="Add", path="{at}", line="b=1")
file_absent(name="Remove", path="{at}")
folder(name="Make", path="{at}", **ME)
"""
    plan, _, _ = apply(tmp_path, tasks)
    assert plan.errors == []
    assert at.is_dir()
    assert [task.name for task in plan.hosts[0].tasks] == ["Write", "Set", "Add", "Remove", "Make"]


def test_a_task_sees_what_somebody_else_did_since_the_look(tmp_path: Path) -> None:
    tasks = "".join(f'file(name="Write {n}", path="{tmp_path}/{n}", content="x\\n", **ME)\n' for n in range(4))

    def somebody() -> None:
        (tmp_path / "1").write_text("x\n")
        (tmp_path / "1").chmod(0o644)
        (tmp_path / "2").mkdir()

    plan, _, _ = apply(tmp_path, tasks, somebody)
    assert [task.name for task in plan.hosts[0].tasks] == ["Write 0"]
    assert [str(error).split(": ", 1)[0] for error in plan.errors] == ["here"]
    assert plan.hosts[0].last_words[-1].endswith("is a folder and a file is declared; move it away")
    assert not (tmp_path / "3").exists()


def test_nothing_after_a_command_that_failed_is_run(tmp_path: Path) -> None:
    tasks = f"""
does(name="One", command="touch {tmp_path}/1")
does(name="Two", command="echo why >&2; exit 7")
does(name="Three", command="touch {tmp_path}/3")
"""
    plan, counted, told = apply(tmp_path, tasks)
    [host] = plan.hosts
    assert [task.name for task in host.tasks] == ["One"]
    assert "exit 7" in str(host.error)
    assert host.last_words == ("why",)
    assert not (tmp_path / "3").exists()
    assert counted == 1
    assert told[-1] == ("TaskEnded", "Two")
    log = [json.loads(row) for row in (tmp_path / "log" / "audit.log").read_text().splitlines()]
    assert [(row["task"], row["exit"]) for row in log] == [("deploy | One", 0), ("deploy | Two", 7)]


def test_other_groups_go_on_after_one_that_failed(tmp_path: Path) -> None:
    tasks = f"""
with task_group("one"):
    does(name="One", command="exit 7")
    does(name="Of one", command="touch {tmp_path}/of-one")
with task_group("two"):
    does(name="Two", command="touch {tmp_path}/two")
"""
    plan, _, _ = apply(tmp_path, tasks)
    assert [task.name for task in plan.hosts[0].tasks] == ["Two"]
    assert len(plan.errors) == 1
    assert not (tmp_path / "of-one").exists()


def test_each_result_is_told_while_the_host_works_on_the_next(tmp_path: Path) -> None:
    """The second task waits for what is only there when the end of the first one was told."""
    tasks = f"""
does(name="One", command="true")
does(name="Two", command="{until(f"{tmp_path}/told")}")
"""

    def at(execution: Execution, kind: type, title: str) -> None:
        if (kind, title) == (TaskEnded, "One"):
            (tmp_path / "told").touch()

    plan, counted, _ = apply(tmp_path, tasks, at=at)
    assert plan.changes == 2
    assert counted == 1


def test_a_run_that_is_stopped_begins_no_further_task_on_the_host(tmp_path: Path) -> None:
    tasks = f"""
does(name="One", command="true")
does(name="Two", command="touch {tmp_path}/two; {until(f"{tmp_path}/shell/.steelyard-*/stop")}")
does(name="Three", command="touch {tmp_path}/three")
"""
    (tmp_path / "shell").mkdir()

    def at(execution: Execution, kind: type, title: str) -> None:
        if (kind, title) == (TaskStarted, "Two"):
            execution.halted = LockLost(where="here")

    with pytest.MonkeyPatch.context() as context:
        context.setenv("TMPDIR", str(tmp_path / "shell"))
        plan, _, told = apply(tmp_path, tasks, at=at)
    assert [task.name for task in plan.hosts[0].tasks] == ["One", "Two"]
    assert plan.hosts[0].outcome is HostOutcome.SKIPPED
    assert not (tmp_path / "three").exists()
    assert ("TaskStarted", "Three") not in told


def test_a_host_whose_controller_is_gone_ends_with_the_task_that_it_is_at(tmp_path: Path) -> None:
    tasks = f"""
does(name="One", command="true")
does(name="Two", command="{until(f"{tmp_path}/gone")}; touch {tmp_path}/two")
does(name="Three", command="touch {tmp_path}/three")
"""

    def at(execution: Execution, kind: type, title: str) -> None:
        if (kind, title) == (TaskStarted, "Two"):
            Here.channels[-1]._mine.close()
            (tmp_path / "gone").touch()

    plan, _, _ = apply(tmp_path, tasks, at=at)
    assert "connection was lost" in str(plan.hosts[0].error)
    process = Here.channels[-1].process
    assert process is not None
    process.wait(20)
    assert (tmp_path / "two").exists()
    assert not (tmp_path / "three").exists()


def test_what_does_not_follow_from_facts_is_told_where_it_was_declared_to(tmp_path: Path) -> None:
    tasks = f"""
COUNT = [0]
@foreseen
@operation()
def moody():
    COUNT[0] += 1
    yield Change(f"touch {tmp_path}/{{COUNT[0]}}", subject="a mood", declared="done", live="not done")
moody(name="Moody")
"""
    plan, _, _ = apply(tmp_path, tasks)
    assert "did not ask for" in str(plan.hosts[0].error)
    assert plan.changes == 0


def test_what_was_not_declared_goes_alone(tmp_path: Path) -> None:
    tasks = "".join(f'server.shell(name="Run {n}", commands=["touch {tmp_path}/{n}"])\n' for n in range(4))
    plan, counted, _ = apply(tmp_path, tasks)
    assert plan.changes == 4
    assert counted == 4


def test_large_files_do_not_fill_the_way(tmp_path: Path) -> None:
    text = "x" * 79 + "\\n"
    tasks = "".join(f'file(name="Write {n}", path="{tmp_path}/{n}", content="{text}" * 8000, **ME)\n' for n in range(4))
    plan, counted, _ = apply(tmp_path, tasks)
    assert plan.changes == 4
    assert counted == 4
    assert [(tmp_path / str(n)).stat().st_size for n in range(4)] == [640000] * 4


TASKS = (
    'file(name="T{n}", path="{at}", content="wanted\\n", **ME)',
    'file(name="T{n}", path="{at}", content="other\\n", mode="0600", **ME)',
    'file(name="T{n}", path="{at}", content="refused\\n", check="grep -q wanted", **ME)',
    'folder(name="T{n}", path="{at}", **ME)',
    'line(name="T{n}", path="{at}", line="a={n}", match="^a=")',
    'link(name="T{n}", path="{at}", target="elsewhere")',
    'file_absent(name="T{n}", path="{at}")',
    'does(name="T{n}", command="echo {n} >>{at}")',
)
PATHS = ("one", "two", "deep/three")


def tree(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = f"{path.lstat().st_mode:o}"
        shown = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[str(path.relative_to(folder))] = f"{mode} {shown}"
    return found


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    some.lists(
        some.tuples(some.sampled_from(TASKS), some.sampled_from(PATHS), some.sampled_from(["", "a", "b"])),
        min_size=2,
        max_size=14,
    )
)
def test_a_host_ends_as_it_does_when_every_task_goes_alone(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, made: list[tuple[str, str, str]]
) -> None:
    """Tasks of few paths get in each other's way, and some fail: what is there, and what is told, is the same."""
    folder = tmp_path_factory.mktemp("world")
    world = folder / "world"
    lines = []
    for number, (task, path, group) in enumerate(made):
        text = task.format(n=number, at=world / path)
        lines.append(f'with task_group("{group}"):\n    {text}' if group else text)

    def once() -> tuple[tuple[HostPlan, str], dict[str, str], Events]:
        shutil.rmtree(world, ignore_errors=True)
        world.mkdir()
        (world / "one").write_text("a=0\n")
        plan, _, told = apply(folder, "\n".join(lines) + "\n")
        return done(plan), tree(world), told

    assert once() == alone(monkeypatch, once)
