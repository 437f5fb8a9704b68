"""When the watchdog kills an engine: never one that works, always one that does nothing any more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard_host.engine import trial_record
from steelyard_host.engine.service import HostService
from steelyard_host.errors import HelperError
from steelyard_host.hardware import gpu
from steelyard_host.supervise import watchdog
from steelyard_host.supervise.watchdog import LastProgress, Observation, decide
from steelyard_host.system import systemd
from steelyard_host.wire.hardware import XidCount

HUNG_S = 180


def told(looks: list[tuple[float, Observation]]) -> list[str | None]:
    """What the watchdog says to looks at these times."""
    last, said = LastProgress(), []
    for at, look in looks:
        decision = decide(look, last, at, HUNG_S)
        last = decision.last
        said.append(decision.kill)
    return said


def silent(progress: float = 5, **more: object) -> Observation:
    return Observation(12, False, "timed out", progress, **more)  # type: ignore[arg-type]


def test_an_engine_that_gives_nothing_is_killed_once_and_not_before_its_time() -> None:
    said = told([(now, silent()) for now in range(0, 400, 20)])
    assert [number for number, why in enumerate(said) if why] == [9, 18]
    assert said[9] == "no token for 180 s, ours or anybody's: timed out"


def test_an_engine_that_is_busy_with_others_is_left_alone() -> None:
    assert told([(now, silent(progress=now)) for now in range(0, 1000, 20)]) == [None] * 50


def test_one_whose_core_is_dead_is_killed_at_the_second_look() -> None:
    said = told([(0, silent()), (15, silent(dead=True))])
    assert said == [None, "its engine is dead and its server goes on: timed out"]


@pytest.mark.parametrize("look", [silent(busy_with="a switch"), Observation(0, False, "it is activating", 0)])
def test_a_switch_and_a_start_are_left_alone(look: Observation) -> None:
    assert told([(now, look) for now in range(0, 4000, 100)]) == [None] * 40


def test_a_new_process_begins_anew() -> None:
    looks = [
        (0.0, silent()),
        (170, silent()),
        (185, Observation(13, False, "", 0)),
        (200, Observation(13, False, "", 0)),
    ]
    assert told(looks) == [None] * 4


@given(st.lists(st.booleans(), min_size=2, max_size=40))
def test_no_engine_is_killed_within_its_patience_of_a_token(gave: list[bool]) -> None:
    times = [20.0 * number for number in range(len(gave))]
    said = told([(now, Observation(12, gives, "", 0)) for now, gives in zip(times, gave, strict=True)])
    for number, why in enumerate(said):
        if why:
            assert not any(
                gives for now, gives in zip(times, gave, strict=True) if times[number] - HUNG_S < now <= times[number]
            )


@pytest.mark.parametrize(
    ("device", "logged", "said"),
    [
        ({"recovery": 0}, [79], []),
        ({"recovery": 1}, [], ["GPU-a waits for recovery action 1 of its driver"]),
        ({"recovery": None}, [79, 31], ["GPU-a had Xid 79 since boot"]),
        ({"recovery": None}, [31], []),
        ({"recovery": None, "error": "GPU is lost"}, [], ["GPU-a does not answer: GPU is lost"]),
    ],
)
def test_a_gpu_that_waits_for_a_reset_is_not_usable(
    monkeypatch: pytest.MonkeyPatch, device: dict[str, object], logged: list[int], said: list[str]
) -> None:
    devices = [{"uuid": "GPU-a", "bus": "0000:01:00.0", "error": None, **device}]
    monkeypatch.setattr(gpu, "nvml", lambda asleep: {"error": None, "devices": devices})
    monkeypatch.setattr(gpu, "xids", lambda: tuple(XidCount("0000:01:00.0", xid, 1) for xid in logged))
    assert gpu.unusable(["GPU-a"], {79, 48}) == said


def test_a_gpu_that_is_gone_is_not_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "nvml", lambda asleep: {"error": None, "devices": []})
    monkeypatch.setattr(gpu, "xids", list)
    assert gpu.unusable(["GPU-a"], {79}) == ["GPU-a is not there any more"]


@pytest.mark.parametrize(
    ("said", "meant"), [("2min", 120), ("1min 30s", 90), ("1h 500ms", 3600.5), ("infinity", None), ("", None)]
)
def test_times_of_systemd_are_read(said: str, meant: float | None) -> None:
    assert systemd.timespan_s(said) == meant


def test_a_service_whose_trial_cannot_be_read_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(_: object) -> None:
        raise HelperError("the record /var/lib/steelyard/switches/tiny.json cannot be read: Expecting value")

    monkeypatch.setattr(systemd, "show", lambda *_: {"ActiveState": "active", "MainPID": "7"})
    monkeypatch.setattr(trial_record, "read", torn)
    looked = watchdog._observe(cast(HostService, SimpleNamespace(unit="steelyard-vllm@tiny.service")))
    assert looked.busy_with is not None
    assert "cannot be read" in looked.busy_with
