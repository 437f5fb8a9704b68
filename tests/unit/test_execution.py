"""The wave engine on hosts without a network: a connector that fails where it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pyinfra.api.command import StringCommand
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.util import CommandOutput

from steelyard.api.host_error import HostError
from steelyard.api.outcome import HostOutcome
from steelyard.engine.audit import Audit
from steelyard.engine.execute import Execution
from steelyard.engine.plan import Plan
from steelyard.engine.run_owner import RunOwner
from steelyard.engine.session import Session
from steelyard.engine.waves import FailLimit, Share, waves_of
from steelyard.errors import HostUnreachable, LockLost
from steelyard.events import APPLYING, Event, HostEnded, RunStarted, TaskStarted
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.site.site import Site

DEPLOY = """
from pyinfra.operations import server
from steelyard.modules.operations.barrier import barrier
server.shell(name="First", commands=["first"])
barrier(name="Every host is here")
server.shell(name="Second", commands=["second"])
"""
LOG: list[tuple[str, str]] = []
EVENTS: list[Event] = []
FINISHED: list[tuple[str, bool]] = []


class Pretended(BaseConnector):
    """`fails` in a host's data: `connect`, or the command that fails."""

    handles_execution = True
    data_cls = dict  # type: ignore[assignment]
    data_meta = {}

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield name, {}, []

    def connect(self) -> None:
        if self.host.data.get("fails") == "connect":
            raise HostError(HostUnreachable(where=self.host.name, why="no route", address="x"))

    def disconnect(self) -> None: ...

    def run_shell_command(self, command: StringCommand, *_: Any, **__: Any) -> tuple[bool, CommandOutput]:
        words = command.get_raw_value()
        LOG.append((self.host.name, words))
        return words != self.host.data.get("fails"), CommandOutput([])

    def put_file(self, *_: Any, **__: Any) -> bool:
        return True

    get_file = rsync = put_file


def run(
    tmp_path: Path,
    fails: dict[str, str | None],
    serial: Share | None,
    allowed: Share | None,
    halt: bool = False,
    text: str = DEPLOY,
) -> Plan:
    deploy = tmp_path / "deploy.py"
    deploy.write_text(text)
    hosts = tuple(FleetHost(name, ("all",), {"fails": word}) for name, word in fails.items())
    fleet = Fleet(tmp_path, hosts, {"all": tuple(fails)})
    site = Site("/models", {}, (), {}, {}, {})
    for kept in (LOG, EVENTS, FINISHED):
        kept.clear()
    with Session(fleet, site, tuple(fails), deploy, Pretended, EVENTS.append) as session:
        session.look(keep=True)
        audit = Audit(RunOwner.here("test"), lambda text: text)
        limit = FailLimit(len(fails), allowed)
        execution = Execution(session, limit, audit, lambda host, ok: FINISHED.append((host, ok)))
        if halt:
            execution.halted = LockLost(where="h0")
        return execution.run(list(waves_of(tuple(fails), serial)))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


ways = some.sampled_from([None, None, None, "connect", "first", "second"])
fleets = some.lists(ways, min_size=1, max_size=12).map(
    lambda found: {f"h{number}": way for number, way in enumerate(found)}
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fleets, some.none() | some.integers(1, 5).map(Share), some.none() | some.integers(0, 4).map(Share))
def test_every_host_ends_in_exactly_one_of_the_outcomes(
    tmp_path: Path, fails: dict[str, str | None], serial: Share | None, allowed: Share | None
) -> None:
    plan = run(tmp_path, fails, serial, allowed)
    by_name = {host.host: host for host in plan.hosts}
    ran = {name: [words for who, words in LOG if who == name] for name in fails}
    for name, way in fails.items():
        outcome, done = by_name[name].outcome, ran[name]
        if way == "connect":
            assert (outcome, done) == (HostOutcome.UNREACHABLE, [])
        elif outcome is HostOutcome.SKIPPED:
            assert done in ([], ["first"])
        elif way is None:
            assert (outcome, done) == (HostOutcome.CHANGES, ["first", "second"])
        else:  # a host that failed at the first step is not reported, nor tried, for the second
            assert outcome is HostOutcome.FAILED
            assert done == (["first"] if way == "first" else ["first", "second"])
            assert len(by_name[name].tasks) == len(done) - 1
    if allowed is None:
        assert HostOutcome.SKIPPED not in [host.outcome for host in plan.hosts]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fleets, some.none() | some.integers(1, 5).map(Share), some.none() | some.integers(0, 4).map(Share))
def test_the_end_of_each_host_is_told_once_and_as_it_came_out(
    tmp_path: Path, fails: dict[str, str | None], serial: Share | None, allowed: Share | None
) -> None:
    """Of the look, and of the apply for whoever was in it to the end."""
    plan = run(tmp_path, fails, serial, allowed)
    starts = [number for number, event in enumerate(EVENTS) if isinstance(event, RunStarted)]
    look, applied = EVENTS[starts[0] : starts[1]], EVENTS[starts[1] :]
    ended = {event.host: event for event in look if isinstance(event, HostEnded)}
    assert len(ended) == len([event for event in look if isinstance(event, HostEnded)]) == len(fails)
    for name, way in fails.items():
        outcome = HostOutcome.UNREACHABLE if way == "connect" else HostOutcome.CHANGES
        assert ended[name] == HostEnded(name, outcome, 0 if way == "connect" else 2)
    ends = [event for event in applied if isinstance(event, HostEnded)]
    through = [host for host in plan.hosts if fails[host.host] != "connect" and host.outcome is not HostOutcome.SKIPPED]
    expected = [HostEnded(host.host, host.outcome, len(host.tasks)) for host in through]
    assert sorted(ends) == sorted(expected)
    assert [(event.host, event.outcome is HostOutcome.CHANGES) for event in ends] == FINISHED


def test_the_end_of_a_host_is_told_when_it_comes_and_not_with_the_end_of_its_wave(tmp_path: Path) -> None:
    """`a` has nothing to do behind the barrier at which its first task ends."""
    deploy = DEPLOY.replace(
        'server.shell(name="Second"', 'if host.data.get("fails") != "none":\n    server.shell(name="Second"'
    ).replace("import server\n", "import server\nfrom pyinfra import host\n")
    run(tmp_path, {"a": "none", "b": None}, None, None, text=deploy)
    order = [
        event for event in EVENTS[EVENTS.index(RunStarted(2, APPLYING)) :] if isinstance(event, HostEnded | TaskStarted)
    ]
    assert order.index(HostEnded("a", HostOutcome.CHANGES, 1)) < order.index(TaskStarted("b", "deploy | Second"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fleets, some.integers(1, 5).map(Share), some.integers(0, 4).map(Share))
def test_no_wave_begins_after_too_many_failed(
    tmp_path: Path, fails: dict[str, str | None], serial: Share, allowed: Share
) -> None:
    """An unreachable host counts from the start; holds for shell commands, which every task here is."""
    run(tmp_path, fails, serial, allowed)
    lost = {name for name, way in fails.items() if way == "connect"}
    for wave in waves_of(tuple(fails), serial):
        begun = [name for name in wave if any(who == name for who, _ in LOG)]
        if len(lost) > allowed.of(len(fails)):
            assert begun == []
        lost |= {name for name in wave if fails[name] in ("first", "second") and any(who == name for who, _ in LOG)}


def test_waves_go_in_order_and_hosts_of_a_wave_meet(tmp_path: Path) -> None:
    run(tmp_path, dict.fromkeys(["a", "b", "c", "d"]), Share(2), None)
    first, second = LOG[:4], LOG[4:]
    for part, pair in ((first, {"a", "b"}), (second, {"c", "d"})):
        assert {who for who, _ in part} == pair
        assert [words for _, words in part] == ["first", "first", "second", "second"]


def test_nothing_begins_once_the_lock_is_lost(tmp_path: Path) -> None:
    plan = run(tmp_path, dict.fromkeys(["a", "b"]), None, None, halt=True)
    assert LOG == []
    assert [host.outcome for host in plan.hosts] == [HostOutcome.SKIPPED] * 2


def test_every_change_is_a_line_of_the_controllers_log(tmp_path: Path) -> None:
    run(tmp_path, {"a": None, "b": "second"}, None, None)
    import json

    lines = [json.loads(line) for line in (tmp_path / "state/steelyard/audit.log").read_text().splitlines()]
    assert [(line["host"], line["task"], line["change"]) for line in lines if line["host"] == "a"] == [
        ("a", "deploy | First", "first"),
        ("a", "deploy | Second", "second"),
    ]
    assert [line["task"] for line in lines if line["host"] == "b"] == ["deploy | First", "deploy | Second (failed)"]
    assert {line["who"] for line in lines} == {RunOwner.here("x").user}
