"""Turns and groups on hosts without a network: who leaves when, who may not, and what goes on beside a failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gevent
import pytest
from pyinfra.api.command import StringCommand
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.util import CommandOutput

from steelyard.api.host_report import FailedCommand, report_of
from steelyard.api.outcome import HostOutcome
from steelyard.engine.audit import Audit
from steelyard.engine.execute import Execution
from steelyard.engine.plan import Plan
from steelyard.engine.run_owner import RunOwner
from steelyard.engine.run_turns import waves_in_order
from steelyard.engine.session import Session
from steelyard.engine.waves import FailLimit, Share, waves_of
from steelyard.errors import LockLost, NotRestarted
from steelyard.events import TaskProgress
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.site.site import Site

DEPLOY = """
from pyinfra.api.operation import operation
from pyinfra.context import host
from steelyard.api.change import Change, Effect
from steelyard.api.task_group import task_group
from steelyard.api.turn import ReplicaTurn, Return, in_turn
from steelyard.modules.operations.barrier import barrier

@operation()
def written(what):
    yield Change("write", what, subject=what, declared="new", live="old")

@operation()
def runs(alias):
    what = {"subject": alias, "declared": "active", "live": "x"}
    if alias in host.data.get("down", ()):
        yield Return("start", alias, **what)
    elif alias in host.data.get("old", ()):
        yield Change("restart", alias, **what, effect=Effect.RESTART)

written(name="Prepare", what="prepared")
for alias in host.data.aliases:
    with task_group("service " + alias):
        with in_turn(ReplicaTurn(alias, alias + "/" + host.name)):
            if alias in host.data.get("old", ()):
                written(name="Configure", what=alias)
            runs(name="Run", alias=alias)
        written(name="Note", what="noted-" + alias)
barrier(name="Every host is here")
written(name="Finish", what="finished")
"""


class Pretended(BaseConnector):
    """Commands take a moment, in which others could run. `fails`: commands of a host that fail; `on`: what happens as
    one runs.
    """

    handles_execution = True
    data_cls = dict  # type: ignore[assignment]
    data_meta = {}
    log: list[tuple[str, str]] = []
    on: dict[tuple[str, str], Any] = {}

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield name, {}, []

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def run_shell_command(self, command: StringCommand, *_: Any, **__: Any) -> tuple[bool, CommandOutput]:
        words = command.get_raw_value()
        self.log.append((self.host.name, words))
        self.on.get((self.host.name, words), lambda: None)()
        for _number in range(3):
            gevent.sleep(0)
        self.log.append((self.host.name, "end of " + words))
        done = words not in self.host.data.get("fails", ())
        if not done:
            report_of(self.state, self.host).failed = FailedCommand(words, "exit 1", [])
        return done, CommandOutput([])

    def put_file(self, *_: Any, **__: Any) -> bool:
        return True

    get_file = rsync = put_file


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Pretended.log.clear()
    Pretended.on.clear()


class Fleetlet:
    """Some hosts, each with the data that the deploy reads."""

    def __init__(self, folder: Path, **hosts: dict[str, Any]) -> None:
        self.names = tuple(hosts)
        self.deploy = folder / "deploy.py"
        self.deploy.write_text(DEPLOY)
        given = tuple(FleetHost(name, ("all",), {"aliases": ("a",), **data}) for name, data in hosts.items())
        self.fleet = Fleet(folder, given, {"all": self.names})
        self.asked: list[tuple[str, ...]] = []
        self.unseen: dict[str, str] = {}
        self.limit: FailLimit
        self.through: dict[str, bool] = {}
        self.events: list[object] = []

    def run(self, serial: Share | None = None, halt_at: tuple[str, str] | None = None) -> Plan:
        site = Site("/models", {}, (), {}, {}, {})

        def ask(servers: tuple[str, ...]) -> Mapping[str, str]:
            self.asked.append(servers)
            return {server: state for server, state in self.unseen.items() if server in servers}

        with Session(self.fleet, site, self.names, self.deploy, Pretended, self.events.append) as session:
            session.look(keep=True)
            self.limit = FailLimit(len(self.names), None)
            audit = Audit(RunOwner.here("test"), lambda text: text)
            execution = Execution(session, self.limit, audit, self.through.__setitem__, ask)
            if halt_at is not None:
                Pretended.on[halt_at] = lambda: setattr(execution, "halted", LockLost(where="h0"))
            names = waves_in_order(self.names, execution.returning)
            return execution.run(list(waves_of(names, serial)))


def at(host: str, words: str) -> int:
    return Pretended.log.index((host, words))


def ran(words: str) -> list[str]:
    return [host for host, said in Pretended.log if said == words]


OLD = {"old": ("a",)}


@pytest.mark.parametrize("serial", [None, Share(1), Share(2)])
@pytest.mark.parametrize("size", [2, 3])
def test_replicas_restart_one_after_the_other_and_gateways_are_asked_between(
    tmp_path: Path, size: int, serial: Share | None
) -> None:
    fleet = Fleetlet(tmp_path, **{f"h{number}": OLD for number in range(size)})
    plan = fleet.run(serial)
    assert [host.outcome for host in plan.hosts] == [HostOutcome.CHANGES] * size
    away = 0
    for _, words in Pretended.log:
        away += {"restart a": 1, "end of restart a": -1}.get(words, 0)
        assert away <= 1
    assert len(ran("restart a")) == size
    order = ran("restart a")
    assert fleet.asked == [(f"a/{host}",) for host in order[:-1]], "each is seen before the next leaves"


def test_who_waits_has_not_written_what_its_restart_is_for(tmp_path: Path) -> None:
    Fleetlet(tmp_path, h0=OLD, h1=OLD).run()
    first, second = ran("restart a")
    assert at(first, "end of restart a") < at(second, "write a")
    assert at(second, "write prepared") < at(first, "end of restart a"), "what disturbs nobody runs side by side"


def test_who_waits_says_for_whom(tmp_path: Path) -> None:
    fleet = Fleetlet(tmp_path, h0=OLD, h1=OLD)
    fleet.run()
    first, second = ran("restart a")
    said = [event for event in fleet.events if isinstance(event, TaskProgress)]
    assert said == [TaskProgress(second, f"waits for {first} to serve again"), TaskProgress(second, "")]


def test_aliases_do_not_wait_for_each_other(tmp_path: Path) -> None:
    Fleetlet(tmp_path, h0={"aliases": ("a",), "old": ("a",)}, h1={"aliases": ("b",), "old": ("b",)}).run()
    assert at("h1", "restart b") < at("h0", "end of restart a")
    assert at("h0", "restart a") < at("h1", "end of restart b")


def test_a_run_without_restarts_asks_no_gateway_and_waits_for_nobody(tmp_path: Path) -> None:
    fleet = Fleetlet(tmp_path, h0={}, h1={}, h2={"down": ("a",)}, h3={"down": ("a",)})
    fleet.run()
    assert fleet.asked == []
    assert at("h3", "start a") < at("h2", "end of start a"), "two that do not serve start side by side"


@pytest.mark.parametrize("serial", [None, Share(1)])
def test_where_one_does_not_come_back_no_other_leaves_and_the_rest_goes_on(
    tmp_path: Path, serial: Share | None
) -> None:
    bad = {**OLD, "fails": ("restart a",)}
    fleet = Fleetlet(tmp_path, h0=bad, h1=OLD, h2=OLD, other={"aliases": ("b",), "old": ("b",)})
    plan = fleet.run(serial)
    by_name = {host.host: host for host in plan.hosts}
    assert ran("restart a") == ["h0"]
    assert ran("write a") == ["h0"], "the others keep the configuration that works"
    for name in ("h1", "h2"):
        error = by_name[name].error
        assert isinstance(error, NotRestarted)
        assert str(error) == f"{name}: `a` was not restarted: h0, its other replica, did not come back"
        assert fleet.through[name] is False, "--resume takes it up"
    assert ran("restart b") == ["other"]
    assert set(ran("write finished")) == {"h0", "h1", "h2", "other"}
    assert fleet.limit.failed == {"h0"}, "who was left alone is no failure of its own"


def test_where_gateways_do_not_see_one_no_other_leaves(tmp_path: Path) -> None:
    fleet = Fleetlet(tmp_path, h0=OLD, h1=OLD, h2=OLD)
    fleet.unseen = {f"a/h{number}": "is DOWN for gateway gw-1" for number in range(3)}
    plan = fleet.run()
    [first] = ran("restart a")
    errors = {str(host.error) for host in plan.hosts if host.host != first}
    assert {error.split(": ", 1)[1] for error in errors} == {
        f"`a` was not restarted: {first}, its other replica, is DOWN for gateway gw-1"
    }
    assert len(fleet.asked) == 1, "asked once, not by each that waits"


@pytest.mark.parametrize("serial", [None, Share(1)])
def test_who_does_not_serve_comes_back_before_the_last_that_does_leaves(tmp_path: Path, serial: Share | None) -> None:
    Fleetlet(tmp_path, h0=OLD, h1={"down": ("a",)}).run(serial)
    assert at("h1", "end of start a") < at("h0", "restart a")


def test_the_last_that_serves_stays_where_the_other_does_not_start(tmp_path: Path) -> None:
    plan = Fleetlet(tmp_path, h0=OLD, h1={"down": ("a",), "fails": ("start a",)}).run()
    assert ran("restart a") == []
    assert str(plan.hosts[0].error) == "h0: `a` was not restarted: h1, its other replica, does not serve"


def test_a_new_host_that_fails_does_not_hold_up_those_that_serve(tmp_path: Path) -> None:
    new = {"down": ("a",), "fails": ("write prepared",)}
    plan = Fleetlet(tmp_path, h0=OLD, h1=OLD, h2=new).run()
    assert sorted(ran("restart a")) == ["h0", "h1"]
    assert [host.outcome for host in plan.hosts] == [HostOutcome.CHANGES, HostOutcome.CHANGES, HostOutcome.FAILED]


def test_a_failure_before_it_left_takes_nothing_away(tmp_path: Path) -> None:
    plan = Fleetlet(tmp_path, h0={**OLD, "fails": ("write a",)}, h1=OLD).run()
    assert ran("restart a") == ["h1"]
    assert [host.outcome for host in plan.hosts] == [HostOutcome.FAILED, HostOutcome.CHANGES]


def test_hosts_of_two_aliases_in_two_orders_do_not_block_each_other(tmp_path: Path) -> None:
    both = ("a", "b")
    fleet = Fleetlet(
        tmp_path,
        h0={"aliases": both, "old": both},
        h1={"aliases": both[::-1], "old": both},
        h2={"aliases": both, "old": ("a",), "down": ("b",)},
    )
    plan = fleet.run()
    assert [host.outcome for host in plan.hosts] == [HostOutcome.CHANGES] * 3
    for alias in both:
        away = 0
        for _, words in Pretended.log:
            away += {f"restart {alias}": 1, f"end of restart {alias}": -1}.get(words, 0)
            assert away <= 1


def test_nobody_leaves_any_more_once_the_run_is_stopped(tmp_path: Path) -> None:
    fleet = Fleetlet(tmp_path, h0=OLD, h1=OLD, h2=OLD)
    plan = fleet.run(halt_at=("h0", "restart a"))
    assert ran("restart a") == ["h0"]
    assert ran("end of restart a") == ["h0"], "who has left comes back"
    assert {host.outcome for host in plan.hosts} == {HostOutcome.SKIPPED}
    assert [host.error for host in plan.hosts] == [None] * 3
    assert fleet.asked == []


@pytest.mark.parametrize(
    ("fails", "lost"),
    [("restart a", {"write noted-a"}), ("write noted-a", set()), ("restart b", {"write noted-b"})],
)
def test_a_failed_task_takes_only_its_group_with_it(tmp_path: Path, fails: str, lost: set[str]) -> None:
    both = ("a", "b")
    fleet = Fleetlet(tmp_path, h0={"aliases": both, "old": both, "fails": (fails,)})
    plan = fleet.run()
    everything = {"write prepared", "write finished"}
    everything |= {f"{verb} {alias}" for alias in both for verb in ("write", "restart")}
    everything |= {f"write noted-{alias}" for alias in both}
    assert {words for _, words in Pretended.log if not words.startswith("end")} == everything - lost
    assert plan.hosts[0].outcome is HostOutcome.FAILED
    assert plan.exit == 3
    assert fleet.through == {"h0": False}


def test_two_failed_groups_are_two_errors_of_one_host(tmp_path: Path) -> None:
    both = ("a", "b")
    plan = Fleetlet(tmp_path, h0={"aliases": both, "old": both, "fails": ("restart a", "restart b")}).run()
    assert [str(error).split("`")[-2] for error in plan.errors] == ["restart a", "restart b"]
