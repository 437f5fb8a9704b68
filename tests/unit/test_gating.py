"""What a wave must pass, with gateways and engines replaced by what they answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from steelyard.engine.waves import Share
from steelyard.events import Emit
from steelyard.rollout.request import RolloutRequest
from steelyard.site.schema import Serve
from steelyard.site.site import Service
from steelyard.workflows.rollout import gateway_gate
from steelyard.workflows.rollout.gateway_gate import GatewayGate
from steelyard.workflows.run_context import RunOptions
from steelyard_host.wire.services import EngineCounters, ProxyState


class World:
    """Two services of one alias behind one gateway; `sum` and `count` of first tokens grow while somebody looks."""

    def __init__(self) -> None:
        self.states = {"alias-a/g1": "UP", "alias-a/g2": "UP"}
        self.weights: list[tuple[str, ...]] = []
        self.slow = {"g1": 0.1, "g2": 0.1}
        self.bad = {"g1": 0, "g2": 0}
        self.looks = 0
        self.connected = False
        self.gateways = ["gw"]
        self.dead: set[str] = set()

    def weigh(self, host: Any, *argv: str) -> None:
        assert argv[0] == "haproxy-weigh"
        self.weights.append(argv[2:])

    def gateway(self, host: Any) -> ProxyState:
        if host.name in self.dead:
            return ProxyState(None, error="connection refused")
        answers = {f"alias-a/{name}": (100 * self.looks, bad * self.looks) for name, bad in self.bad.items()}
        return ProxyState("v1", self.states, answers=answers)

    def counters(self, host: str) -> EngineCounters:
        return EngineCounters(100.0 * self.looks * self.slow[host], 100.0 * self.looks)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    class Opened:
        @property
        def hosts(self) -> list[Any]:
            return [SimpleNamespace(name=name) for name in world.gateways] if world.connected else []

        def each(self, work: Any) -> None:
            world.connected = True

    @contextmanager
    def open_session(options: RunOptions, emit: Emit) -> Iterator[tuple[None, Opened]]:
        yield None, Opened()

    def later(seconds: float) -> None:
        world.looks += 1

    monkeypatch.setattr(gateway_gate, "open_session", open_session)
    monkeypatch.setattr(gateway_gate, "_proxy_state", world.gateway)
    monkeypatch.setattr(gateway_gate, "helper_document", world.weigh)
    monkeypatch.setattr(gateway_gate, "SEEN_S", -1)
    monkeypatch.setattr(gateway_gate, "SILENT_S", -1)
    monkeypatch.setattr(gateway_gate.HANDLER, "wait", later)
    return world


def gate(world: World, watch_s: int = 5, canary: float | None = None, services: int = 2) -> GatewayGate:
    serve = Serve(hosts="gpu")
    both = [Service("a", "m/a", "v2", f"g{n}", "10.0.0.1", "a", serve) for n in range(1, services + 1)]
    request = RolloutRequest(None, (), None, Share(0), 300, watch_s, canary)
    fleet: Any = SimpleNamespace(groups={"gateway": ("gw",)})
    return GatewayGate(RunOptions(Path("i")), fleet, both, world, request, lambda event: None)


def test_a_service_that_a_gateway_does_not_see_is_refused(world: World) -> None:
    world.states["alias-a/g1"] = "DOWN"
    assert gate(world)(["g1"]) == "the gateway sees alias-a/g1 DOWN"


def test_a_gateway_that_is_dead_has_no_say_and_where_none_is_left_nobody_can_tell(world: World) -> None:
    world.gateways = ["gw", "other"]
    world.dead = {"gw"}
    assert gate(world)(["g1"]) is None
    world.states["alias-a/g1"] = "DOWN"
    assert gate(world)(["g1"]) == "the gateway sees alias-a/g1 DOWN"
    world.dead = {"gw", "other"}
    assert gate(world)(["g1"]) == "no gateway answers"
    world.gateways = []
    assert gate(world)(["g1"]) == "no gateway answers"


def test_a_wave_as_good_as_those_that_still_serve_the_old_version_passes(world: World) -> None:
    passing = gate(world)
    assert [passing([name]) for name in ("g1", "g2")] == [None, None]


def test_a_slower_wave_is_refused_with_the_numbers(world: World) -> None:
    world.slow["g1"] = 0.5
    assert gate(world)(["g1"]) == "a first token took 0.500 s, and 0.100 s with the old version: more than 1.5 times"


def test_the_last_wave_is_held_against_what_the_old_version_did_when_it_last_served(world: World) -> None:
    one = gate(world)
    assert one(["g1"]) is None
    world.slow["g2"] = 0.5
    assert one(["g2"]) is not None


def test_an_alias_with_one_service_is_held_against_itself_before(world: World) -> None:
    one = gate(world, services=1)
    one.before(["g1"])
    world.slow["g1"] = 0.5
    world.looks = 0
    assert one(["g1"]) is not None


def test_hosts_that_move_together_are_held_against_themselves_before(world: World) -> None:
    together = gate(world)
    together.before(["g1", "g2"])
    world.slow.update(g1=0.5, g2=0.5)
    world.looks = 0
    assert together(["g1", "g2"]) is not None


def test_more_failed_answers_are_refused(world: World) -> None:
    world.bad["g1"] = 50
    assert gate(world)(["g1"]) == "50 of 150 answers failed, and 0 of 100 of the old version"


def test_a_canary_gets_its_share_while_it_is_watched_and_its_weight_back_whatever_comes_of_it(world: World) -> None:
    canary = gate(world, canary=0.05)
    world.slow["g1"] = 9.0
    assert canary(["g1"]) is not None
    assert canary(["g2"]) is None or world.weights  # the second wave has no canary of its own
    assert world.weights == [("alias-a/g1=6",), ("alias-a/g1=100",)]


def test_without_seconds_to_watch_nothing_is_counted(world: World) -> None:
    world.slow["g1"] = 9.0
    assert gate(world, watch_s=0)(["g1"]) is None
    assert world.looks == 0
