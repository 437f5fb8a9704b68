"""How many hosts are done, how fast, and how long it takes yet: told when it can be known, and never before."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from steelyard.api.outcome import HostOutcome
from steelyard.progress.pace import Pace
from steelyard.progress.tally import Tally


def run(tally: Tally, took: list[float], at_once: int, until: float) -> None:
    """Hosts that take so long each, so many at once, as far as they are at that time."""
    waiting = [(f"h{number}", seconds) for number, seconds in enumerate(took)]
    working: list[tuple[float, str]] = []
    now = 0.0
    while waiting or working:
        while waiting and len(working) < at_once:
            host, seconds = waiting.pop(0)
            tally.start(host, now)
            heapq.heappush(working, (now + seconds, host))
        now, host = heapq.heappop(working)
        if now > until:
            return
        tally.end(host, None, now)


@pytest.mark.parametrize(("at", "left"), [(59, None), (61, 239), (150, 150), (239, 61), (299, 1)])
def test_hosts_that_end_in_bursts_have_a_time_left_that_is_true(at: float, left: float | None) -> None:
    """500 hosts of a minute each, 100 at once: five bursts, 300 s."""
    tally = Tally(500, 0)
    run(tally, [60.0] * 500, 100, at)
    assert tally.left(at) == (None if left is None else pytest.approx(left, rel=0.02))


@pytest.mark.parametrize("seed", range(5))
def test_the_time_left_of_uneven_hosts_is_near_the_truth_from_a_third_on(seed: int) -> None:
    draw = random.Random(seed)
    took = [max(1.0, draw.gauss(12, 4)) for _ in range(500)]
    ends = max(_ends(took, 100))
    for share in (0.4, 0.6, 0.75):
        tally = Tally(500, 0)
        run(tally, took, 100, share * ends)
        left = tally.left(share * ends)
        assert left is not None
        assert left == pytest.approx((1 - share) * ends, rel=0.4)


def _ends(took: list[float], at_once: int) -> list[float]:
    free = [0.0] * at_once
    ends = []
    for seconds in took:
        ends.append(heapq.heappop(free) + seconds)
        heapq.heappush(free, ends[-1])
    return ends


def test_nothing_is_told_of_what_is_left_where_only_hosts_are_left_that_take_longer_than_any() -> None:
    tally = Tally(5, 0)
    run(tally, [2.0, 2.0, 2.0, 2.0, 900.0], 5, 10)
    assert (tally.done, tally.left(10)) == (4, None)


def test_nothing_is_told_before_some_have_ended_nor_when_all_have() -> None:
    tally = Tally(5, 0)
    for number in range(5):
        assert tally.left(number) is None or tally.done >= 3
        tally.start(f"h{number}", 0)
    for number in range(5):
        tally.end(f"h{number}", None, 10)
    assert (tally.done, tally.left(10)) == (5, None)


def test_the_rate_of_bursts_is_taken_over_half_of_the_time() -> None:
    tally = Tally(500, 0)
    run(tally, [60.0] * 500, 100, 190)
    assert tally.rate(190) == pytest.approx(200 / 95)


def test_a_host_counts_once_however_often_and_in_whatever_order_it_is_told_of() -> None:
    tally = Tally(3, 0)
    tally.end("never begun", HostOutcome.IN_SYNC, 1)
    tally.end("never begun", HostOutcome.IN_SYNC, 2)
    tally.start("never begun", 3)
    tally.start("h1", 3)
    tally.start("h1", 4)
    assert (tally.done, tally.at_work) == (1, 1)


def test_one_that_failed_has_failed_whatever_came_of_its_other_tasks() -> None:
    tally = Tally(3, 0)
    tally.start("h1", 0)
    tally.fail("h1", HostOutcome.FAILED)
    assert tally.outcomes == {HostOutcome.FAILED: 1}, "at once: it may go on for long"
    tally.end("h1", HostOutcome.CHANGES, 1)
    tally.end("h2", HostOutcome.UNREACHABLE, 1)
    assert tally.outcomes == {HostOutcome.FAILED: 1, HostOutcome.UNREACHABLE: 1}


@given(some.lists(some.tuples(some.sampled_from("sef"), some.integers(0, 9), some.floats(0, 50)), max_size=80))
def test_no_order_of_events_breaks_the_count(events: list[tuple[str, int, float]]) -> None:
    tally, now = Tally(10, 0), 0.0
    for kind, number, seconds in events:
        now += seconds
        match kind:
            case "s":
                tally.start(f"h{number}", now)
            case "e":
                tally.end(f"h{number}", HostOutcome.IN_SYNC, now)
            case _:
                tally.fail(f"h{number}", HostOutcome.FAILED)
        left, rate = tally.left(now), tally.rate(now)
        assert 0 <= tally.done + tally.at_work <= 10
        assert left is None or left > 0
        assert rate is None or rate > 0
        assert sum(tally.outcomes.values()) <= 10


def test_a_pace_knows_nothing_before_a_second_nor_after_a_silent_window() -> None:
    pace = Pace()
    assert (pace.rate(0), pace.left(0, 10), pace.rests(0)) == (None, None, False)
    pace.note(0, 0)
    pace.note(0.5, 4)
    assert pace.rate(0.5) is None
    assert (pace.rate(2), pace.left(2, 10)) == (2.0, 3.0)
    assert (pace.rate(30), pace.rests(30)) == (None, True)


def test_a_pace_of_what_comes_in_bursts_remembers_a_share_of_all_the_time() -> None:
    pace = Pace(share=0.5)
    pace.note(0, 0)
    pace.note(100, 50)
    assert pace.rate(150) == pytest.approx(50 / 75)
    assert pace.rate(201) is None
