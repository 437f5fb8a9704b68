"""Which services rest for which, and what a host refuses before it is asked for more memory than there is."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from steelyard.modules.operations.memory_budget import too_much
from steelyard.site.schema import Serve
from steelyard.site.site import Service
from steelyard_host.engine import metrics
from steelyard_host.engine import service as engines
from steelyard_host.engine.service import ENGINES, HostService
from steelyard_host.proxy import haproxy
from steelyard_host.supervise import on_demand
from steelyard_host.supervise.on_demand import ResourceClaim, shortage
from steelyard_host.wire.services import ServiceState, Start

GIB = 1 << 30


def service(name: str, memory_gib: float | None, load: str = "preload") -> Service:
    serve = Serve.model_validate({"hosts": "gpu", "load": load, "memory_gib": memory_gib})
    return Service(name, f"llm/{name}", "v1", "gpu-1", "10.0.0.1", name, serve)


def test_memory_is_short_where_the_budget_would_be_passed_and_those_that_take_of_it_are_named() -> None:
    running = {"a": ResourceClaim(memory=20 * GIB), "b": ResourceClaim(memory=30 * GIB), "uncounted": ResourceClaim()}
    found = shortage(ResourceClaim(memory=20 * GIB), running, 64 * GIB)
    assert found is not None
    why, users = found
    assert users == {"a", "b"}
    assert why == "it needs 20.0 GiB of memory, and 14.0 of the budget's 64.0 are left"
    assert shortage(ResourceClaim(memory=14 * GIB), running, 64 * GIB) is None
    assert shortage(ResourceClaim(memory=500 * GIB), running, 0) is None, "no budget is declared"


def test_a_gpu_is_short_where_its_shares_would_be_more_than_all_of_it() -> None:
    running = {"a": ResourceClaim(share=0.9, gpus=("g0",)), "b": ResourceClaim(share=0.4, gpus=("g1",))}
    found = shortage(ResourceClaim(share=0.5, gpus=("g0", "g1")), running, 0)
    assert found is not None
    assert found[1] == {"a"}
    assert shortage(ResourceClaim(share=0.6, gpus=("g1",)), running, 0) is None


def test_those_that_run_by_turns_count_once() -> None:
    by_turns = [service("b", 20, "lazy"), service("c", 30, "lazy")]
    assert too_much([service("a", 30), *by_turns], 64) is None
    why = too_much([service("a", 40), *by_turns], 64)
    assert why is not None
    assert "need 70 GiB" in why
    assert "c 30, the largest of the lazy ones" in why


def by_disuse(*names: str) -> list[str]:
    return [free.name for free in on_demand._by_disuse([HostService(name, {}) for name in names])]


def make_room(name: str, seconds: float) -> int:
    return on_demand.make_room(HostService.load(name), 1, seconds)


def test_the_longest_unused_rests_first_and_one_that_is_asked_gets_a_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = {"engine-a/a": {"lastsess": "5"}, "engine-b/b": {"lastsess": "90"}, "engine-c/c": {"lastsess": "-1"}}
    seen["engine-asked/asked"] = {"lastsess": "0"}
    monkeypatch.setattr(haproxy, "stat", lambda path: seen)
    monkeypatch.setattr(on_demand, "CLAIMS", tmp_path)
    monkeypatch.setattr(on_demand.start_log, "read", lambda name: [Start(0, 30.0, (), {})])
    (tmp_path / "asked").touch()
    assert by_disuse("a", "b", "c", "asked") == ["c", "b", "a"]
    long_ago = time.time() - 61
    os.utime(tmp_path / "asked", (long_ago, long_ago))
    assert by_disuse("a", "asked") == ["a", "asked"], "it has served as long as its start took"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three services on a host with a budget of 10 bytes; systemd says what `tmp_path/NAME` holds."""
    monkeypatch.setattr(engines, "SERVICES", tmp_path / "services")
    monkeypatch.setattr(on_demand, "CLAIMS", tmp_path / "claims")
    monkeypatch.setattr(on_demand.gpu, "held", lambda: {})
    monkeypatch.setattr(haproxy, "stat", lambda path: {})
    monkeypatch.setattr(on_demand, "state", lambda service: ServiceState((tmp_path / service.name).read_text()))
    (tmp_path / "services").mkdir()
    for name, load, memory in (("always", "preload", 4), ("one", "lazy", 5), ("two", "lazy", 5)):
        text = f"STEELYARD_ENGINE=/opt/steelyard/engines/llamacpp-1\nSTEELYARD_LOAD={load}\n"
        text += f"STEELYARD_MEMORY={memory}\nSTEELYARD_BUDGET=10\n"
        (tmp_path / "services" / f"{name}.env").write_text(text)
        (tmp_path / name).write_text("active" if load == "preload" else "inactive")
    return tmp_path


def test_another_lazy_one_rests_and_nobody_else(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rested = []

    def idle_stop(service: HostService, drain_s: float) -> bool:
        rested.append(service.name)
        (host / service.name).write_text("inactive")
        return True

    monkeypatch.setattr(on_demand, "idle_stop", idle_stop)
    assert make_room("one", 1) == 0
    (host / "one").write_text("active")
    assert make_room("two", 1) == 0
    assert rested == ["one"]


def test_one_that_waits_for_its_turn_takes_nothing_and_one_that_got_it_does(host: Path) -> None:
    assert make_room("one", 1) == 0
    (host / "one").write_text("activating")
    (host / "two").write_text("activating")
    assert make_room("two", 0.1) == 1, "it waits while the other starts, and then gives up"
    threading.Thread(
        target=lambda: (time.sleep(0.3), (on_demand.CLAIMS / "one").unlink())
    ).start()  # it rested, and is asked again
    assert make_room("two", 60) == 0, "what the other one had before is nothing that it has"


def test_what_never_has_room_says_so_with_the_numbers(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (host / "services" / "one.env").write_text("STEELYARD_LOAD=lazy\nSTEELYARD_MEMORY=7\nSTEELYARD_BUDGET=10\n")
    assert make_room("one", 60) == 1
    assert "in use by always" in capsys.readouterr().out


def test_counters_of_both_engines_have_one_name() -> None:
    theirs = "llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\nllamacpp:tokens_predicted_total 7\n"
    assert metrics.parse(theirs, ENGINES["llamacpp"], metrics.COUNTS) == {
        "num_requests_running": 2.0,
        "num_requests_waiting": 1.0,
    }
    ours = 'vllm:num_requests_running{engine="0"} 2\nvllm:num_requests_running{engine="1"} 1\n'
    assert metrics.parse(ours, ENGINES["vllm"], metrics.COUNTS) == {"num_requests_running": 3.0}
    assert metrics.parse(theirs, ENGINES["vllm"], metrics.COUNTS) == {}


def test_a_services_engine_is_known_by_its_environment(host: Path) -> None:
    assert HostService.load("one").unit == "steelyard-llamacpp@one.service"
    assert HostService.load("one").second.unit == "steelyard-llamacpp@one--surge.service"
    assert HostService.load("nobody").unit == "steelyard-vllm@nobody.service"
    assert HostService.load("one").is_lazy
    assert not HostService.load("always").is_lazy
