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

from steelyard.engine.audit import Audit
from steelyard.engine.execute import Execution
from steelyard.engine.plan import Plan
from steelyard.engine.session import Session
from steelyard.engine.waves import FailLimit, Share, waves_of
from steelyard.errors import HostUnreachable, LockLost
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.origin import Origin
from steelyard.outcome import Outcome
from steelyard.problem import HostProblem
from steelyard.site import Site

DEPLOY = """
from pyinfra.operations import server
from steelyard.modules.operations.meet import hosts_meet
server.shell(name="First", commands=["first"])
hosts_meet(name="Every host is here")
server.shell(name="Second", commands=["second"])
"""
LOG: list[tuple[str, str]] = []


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
            raise HostProblem(HostUnreachable(where=self.host.name, why="no route", address="x"))

    def disconnect(self) -> None: ...

    def run_shell_command(self, command: StringCommand, *_: Any, **__: Any) -> tuple[bool, CommandOutput]:
        words = command.get_raw_value()
        LOG.append((self.host.name, words))
        return words != self.host.data.get("fails"), CommandOutput([])

    def put_file(self, *_: Any, **__: Any) -> bool:
        return True

    get_file = rsync = put_file


def run(tmp_path: Path, fails: dict[str, str | None], serial: Share | None, allowed: Share | None, halt: bool = False) -> Plan:
    deploy = tmp_path / "deploy.py"
    deploy.write_text(DEPLOY)
    hosts = tuple(FleetHost(name, ("all",), {"fails": word}) for name, word in fails.items())
    fleet = Fleet(tmp_path, hosts, {"all": tuple(fails)})
    site = Site("/models", {}, (), {}, {}, {})
    LOG.clear()
    with Session(fleet, site, tuple(fails), deploy, Pretended) as session:
        session.look(keep=True)
        execution = Execution(session, FailLimit(len(fails), allowed), Audit(Origin.here("test"), lambda text: text))
        if halt:
            execution.halted = LockLost(where="h0")
        return execution.run(list(waves_of(tuple(fails), serial)))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


ways = some.sampled_from([None, None, None, "connect", "first", "second"])
fleets = some.lists(ways, min_size=1, max_size=12).map(lambda found: {f"h{number}": way for number, way in enumerate(found)})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
            assert (outcome, done) == (Outcome.UNREACHABLE, [])
        elif outcome is Outcome.SKIPPED:
            assert done in ([], ["first"])
        elif way is None:
            assert (outcome, done) == (Outcome.CHANGES, ["first", "second"])
        else:  # a host that failed at the first step is not reported, nor tried, for the second
            assert outcome is Outcome.FAILED
            assert done == (["first"] if way == "first" else ["first", "second"])
            assert len(by_name[name].tasks) == len(done) - 1
    if allowed is None:
        assert Outcome.SKIPPED not in [host.outcome for host in plan.hosts]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    assert [host.outcome for host in plan.hosts] == [Outcome.SKIPPED] * 2


def test_every_change_is_a_line_of_the_controllers_log(tmp_path: Path) -> None:
    run(tmp_path, {"a": None, "b": "second"}, None, None)
    import json

    lines = [json.loads(line) for line in (tmp_path / "state/steelyard/audit.log").read_text().splitlines()]
    assert [(line["host"], line["task"], line["change"]) for line in lines if line["host"] == "a"] == [
        ("a", "deploy | First", "first"),
        ("a", "deploy | Second", "second"),
    ]
    assert [line["task"] for line in lines if line["host"] == "b"] == ["deploy | First", "deploy | Second (failed)"]
    assert {line["who"] for line in lines} == {Origin.here("x").who}
