"""A cold look: the deploy is rehearsed without the host, and all that it will ask goes out together.

Hosts are this machine, with real shells; what counts is round trips, and that the plan is the one of asking one by one.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pyinfra.api.host import Host
from support.here import ME, session_here, trips

from steelyard.api.foreseen import Foreseen
from steelyard.api.rehearsal import Known, Rehearsals
from steelyard.api.run_slots import run_slot
from steelyard.engine.deploy_file import DeployFile
from steelyard.engine.plan import HostPlan, Plan
from steelyard.engine.session import Session
from steelyard.engine.untouched import NotNow, untouched
from steelyard.errors import DeployBroken
from steelyard.modules.connectors.frames import CommandAnswer

HEAD = """
from pathlib import Path
from pyinfra.api.deploy import deploy
from pyinfra.context import host
from steelyard.modules.facts.path import Content
from steelyard.modules.operations.line import line
from steelyard.modules.operations.path import file, file_absent, folder, link
"""


@pytest.fixture(autouse=True)
def cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def look(folder: Path, tasks: str) -> tuple[Plan, list[int]]:
    with session_here(folder, HEAD + tasks) as session:
        return session.look(), trips(session)


def one_by_one(folder: Path, tasks: str, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of a look that asks only what it needs to go on."""
    with monkeypatch.context() as context:
        context.setattr(Session, "_rehearse", lambda *_: None)
        context.setenv("XDG_CACHE_HOME", str(folder / "another"))
        return look(folder, tasks)[0]


def said(plan: Plan) -> list[tuple[HostPlan, str]]:
    return [(replace(host, traffic=None, error=None), str(host.error)) for host in plan.hosts]


def test_what_does_not_depend_on_answers_is_one_round_trip(tmp_path: Path) -> None:
    tasks = "".join(f'folder(name="Make {n}", path="{tmp_path}/{n}", **{ME})\n' for n in range(30))
    plan, counted = look(tmp_path, tasks)
    assert counted == [1]
    assert plan.changes == 30


def test_what_depends_on_an_answer_is_asked_when_it_is_there(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"f{number}").write_text("old\n")
    tasks = "".join(f'file(name="Write {n}", path="{tmp_path}/f{n}", content="new\\n", **{ME})\n' for n in range(8))
    plan, counted = look(tmp_path, tasks)
    assert counted == [2]
    assert [task.commands[0].diff[-2:] for task in plan.hosts[0].tasks] == [("-old", "+new")] * 8


STATES = ("absent", "the file", "another file", "a folder", "a link")
TASKS = (
    'file(name="T{n}", path="{at}", content="wanted\\n", **{me})',
    'folder(name="T{n}", path="{at}", **{me})',
    'line(name="T{n}", path="{at}", line="a=1", match="^a=")',
    'link(name="T{n}", path="{at}", target="elsewhere")',
    'file_absent(name="T{n}", path="{at}")',
    'if (host.get_fact(Content, path="{at}") or b"").startswith(b"wanted"): folder(name="T{n}", path="{at}.d", **{me})',
)


def lay(at: Path, state: str) -> None:
    if state in ("the file", "another file"):
        at.write_text("wanted\n" if state == "the file" else "a=2\n")
    elif state == "a folder":
        at.mkdir()
    elif state == "a link":
        at.symlink_to("elsewhere")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.lists(some.tuples(some.sampled_from(TASKS), some.sampled_from(STATES)), min_size=1, max_size=12))
def test_a_rehearsed_look_says_what_asking_one_by_one_says(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, made: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("world")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    tasks = ""
    for number, (task, state) in enumerate(made):
        at = folder / f"thing{number}"
        lay(at, state)
        tasks += task.format(n=number, at=at, me=ME) + "\n"
    plan, counted = look(folder, tasks)
    assert counted[0] <= 3
    assert said(plan) == said(one_by_one(folder, tasks, monkeypatch))


def test_a_role_that_cannot_do_without_an_answer_keeps_no_other_from_being_learned(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("yes\n")
    role = f"""
@deploy("needy")
def needy():
    assert host.get_fact(Content, path="{tmp_path}/there").decode() == "yes\\n"
    folder(name="Needs it", path="{tmp_path}/needed", **{ME})
needy()
"""
    tasks = role + "".join(f'folder(name="Make {n}", path="{tmp_path}/{n}", **{ME})\n' for n in range(9))
    plan, counted = look(tmp_path, tasks)
    assert counted == [2]
    assert plan.changes == 10
    assert plan.errors == []


EFFECTS = {
    "a file": 'Path("{at}").open("a").write("x")',
    "a folder": 'Path("{at}").mkdir(exist_ok=True); Path("{at}.n").open("a").write("x")',
    "a program": 'import subprocess; subprocess.run(["sh", "-c", "printf x >>{at}"])',
    "a shell": 'import os; os.system("printf x >>{at}")',
    "a file that goes": 'import os; os.rename("{at}.old", "{at}")',
}


@pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS.keys())
def test_what_a_deploy_does_on_the_controller_is_done_once(tmp_path: Path, effect: str) -> None:
    (tmp_path / "effect.old").write_text("x")
    tasks = f'folder(name="A", path="{tmp_path}/a", **{ME})\n' + effect.format(at=tmp_path / "effect")
    plan, _ = look(tmp_path, tasks)
    assert plan.errors == []
    at = tmp_path / "effect"
    written = (tmp_path / "effect.n" if at.is_dir() else at).read_text()
    assert written == "x"


def test_what_a_deploy_says_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_text("old\n")
    tasks = f'print("hello")\nfile(name="A", path="{tmp_path}/f", content="new\\n", **{ME})\nimport sys\n'
    look(tmp_path, tasks + 'print("mind", file=sys.stderr)\n')
    assert capsys.readouterr() == ("hello\n", "mind\n")


def test_an_error_of_the_deploy_is_told_once_and_is_the_look_s(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("1\n")
    tasks = f'int(host.get_fact(Content, path="{tmp_path}/f") or "nothing yet")\n'
    assert look(tmp_path, tasks)[0].errors == []  # the rehearsal had no answer, and fell over it
    (tmp_path / "f").write_text("one\n")
    with pytest.raises(DeployBroken, match=r"deploy\.py:\d+: .*one"):
        look(tmp_path, tasks)


def test_a_deploy_that_waits_for_an_answer_does_not_hold_the_rehearsal(tmp_path: Path) -> None:
    (tmp_path / "ready").write_text("yes\n")
    tasks = f"""
while not host.get_fact(Content, path="{tmp_path}/ready"):
    pass
folder(name="Goes on", path="{tmp_path}/on", **{ME})
"""
    plan, counted = look(tmp_path, tasks)
    assert [task.name for task in plan.hosts[0].tasks] == ["Goes on"]
    assert counted == [2]


def test_nothing_of_a_rehearsal_stays_in_the_run(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old\n")
    tasks = f"""
from steelyard.api.unknown import declare_unknown
if not host.get_fact(Content, path="{tmp_path}/f"):
    declare_unknown("a thing", "it was not asked for yet", "the look")
    folder(name="Of the wrong turn", path="{tmp_path}/wrong", **{ME})
folder(name="Of both", path="{tmp_path}/both", **{ME})
"""
    with session_here(tmp_path, HEAD + tasks) as session:
        plan = session.look(keep=True)
        assert [task.name for task in plan.hosts[0].tasks] == ["Of both"]
        assert plan.hosts[0].unknown == ()
        assert {name for meta in session.state.op_meta.values() for name in meta.names} == {"Of both"}


def test_a_second_look_rehearses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = "".join(f'folder(name="Make {n}", path="{tmp_path}/{n}", **{ME})\n' for n in range(5))
    look(tmp_path, tasks)
    with session_here(tmp_path, HEAD + tasks) as session:
        monkeypatch.setattr(Session, "_rehearse", lambda *_: pytest.fail("it knew what to ask"))
        assert session.look().changes == 5
        assert trips(session) == [1]


def test_plain_pyinfra_has_nothing_to_rehearse() -> None:
    class Run:
        """A run that our engine did not make."""

    assert run_slot(Run(), Rehearsals).run is None  # type: ignore[arg-type]


def test_reading_is_no_act(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("text")
    with untouched():
        assert (tmp_path / "f").read_text() == "text"
        with pytest.raises(NotNow):
            (tmp_path / "f").write_text("other")
    (tmp_path / "f").write_text("other")
    assert (tmp_path / "f").read_text() == "other"


NAMES = tuple(f"here-{number}" for number in range(12))


def fleet_looks(
    folder: Path, tasks: str, monkeypatch: pytest.MonkeyPatch, **data: object
) -> tuple[Plan, list[int], list[str]]:
    """Plan and round trips of twelve hosts of the same groups, and for which of them the deploy was rehearsed."""
    rehearsed: list[str] = []
    original = Session._rehearse

    def counted(session: Session, deploy: DeployFile, host: Host, known: Known) -> None:
        rehearsed.append(host.name)
        original(session, deploy, host, known)

    monkeypatch.setattr(Session, "_rehearse", counted)
    with session_here(folder, HEAD + tasks, NAMES, **data) as session:
        return session.look(), trips(session), rehearsed


def test_hosts_of_the_same_groups_learn_from_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_text("old\n")
    tasks = f'file(name="Write", path="{tmp_path}/f", content="new\\n", **{ME})\n'
    tasks += "".join(f'folder(name="Make {n}", path="{tmp_path}/{n}", **{ME})\n' for n in range(5))
    plan, counted, rehearsed = fleet_looks(tmp_path, tasks, monkeypatch)
    assert set(counted) == {2}
    assert len(rehearsed) <= 2
    assert {len(host.tasks) for host in plan.hosts} == {6}


def test_what_one_host_alone_asks_is_learned_from_a_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = f'folder(name="Make its own", path=f"{tmp_path}/{{host.name}}", **{ME})\n'
    tasks += f'folder(name="Make", path="{tmp_path}/shared", **{ME})\n'
    plan, counted, _ = fleet_looks(tmp_path, tasks, monkeypatch)
    assert max(counted) <= 2
    assert {host.host: host.tasks[0].commands[0].subject for host in plan.hosts} == {
        name: f"{tmp_path}/{name}" for name in NAMES
    }


def test_a_question_with_a_secret_in_it_is_asked_of_its_host_alone() -> None:
    learned = Rehearsals()
    learned.secrets = frozenset(["it's-mine"])
    host = SimpleNamespace(groups=["gpu"])
    learned.learn(host, ["sh -c 'test -e /a'", "sh -c 'grep '\"'\"'it'\"'\"'\"'\"'\"'\"'\"'\"'s-mine /etc/x'"])  # type: ignore[arg-type]
    assert list(learned.learned(host)) == ["sh -c 'test -e /a'"]  # type: ignore[arg-type]
    assert learned.learned(SimpleNamespace(groups=["edge"])) == {}  # type: ignore[arg-type]


def answers_alive() -> int:
    gc.collect()
    return sum(isinstance(alive, CommandAnswer) for alive in gc.get_objects())


def test_of_a_look_that_nobody_carries_out_only_plans_stay(tmp_path: Path) -> None:
    tasks = "".join(f'folder(name="Make {n}", path="{tmp_path}/{n}", **{ME})\n' for n in range(4))
    before = answers_alive()
    with session_here(tmp_path, HEAD + tasks, NAMES) as session:
        assert session.look().changes == 4 * len(NAMES)
        assert answers_alive() <= before
        noted = run_slot(session.state, Foreseen)
        assert (noted.tasks, noted.steps, session.commands) == (set(), {}, {})
