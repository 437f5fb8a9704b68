"""A run over many hosts in words: the line of a host in a log, the table of a terminal of any size."""

from __future__ import annotations

import pytest

from steelyard.api.outcome import HostOutcome
from steelyard.errors import HostSilent, HostUnreachable, SteelyardError
from steelyard.events import (
    APPLYING,
    LOOKING,
    Event,
    HostAt,
    HostEnded,
    HostFailed,
    RunStarted,
    TaskEnded,
    TaskStarted,
)
from steelyard.render.activity import Activity
from steelyard.render.fleet_progress import frequency

INSTALL, RUN = "vllm | Install the engine", "vllm | Run the engine"
UNREACHABLE = HostUnreachable(where="h", why="no route", address="h")
SILENT = HostSilent(**{**HostSilent.sample, "where": "h"})


def told(activity: Activity, events: list[tuple[float, Event]]) -> list[str]:
    """The lines of a log."""
    lines = []
    for at, event in events:
        activity.take(event, at)
        if isinstance(event, HostEnded):
            lines += activity.ended(event, at)
    return lines


def ends(at: float, host: str, outcome: HostOutcome | None, changes: int = 0) -> tuple[float, Event]:
    return at, HostEnded(host, outcome, changes)


def fails(at: float, host: str, error: SteelyardError, outcome: HostOutcome) -> list[tuple[float, Event]]:
    return [(at, HostFailed(host, error, ())), ends(at, host, outcome)]


def test_a_look_has_a_line_a_host_with_how_it_came_out_and_where_the_run_is() -> None:
    events: list[tuple[float, Event]] = [(0, RunStarted(6, LOOKING))]
    events += [(0, HostAt(f"g{number}", "looking")) for number in range(6)]
    events += [ends(2, "g4", HostOutcome.IN_SYNC), ends(3, "g0", HostOutcome.CHANGES, 4)]
    events += fails(3, "g5", UNREACHABLE, HostOutcome.UNREACHABLE)
    events += [ends(4, "g1", HostOutcome.CHANGES, 1), *fails(5, "g2", SILENT, HostOutcome.FAILED)]
    events += [ends(75, "g3", HostOutcome.UNKNOWN)]
    assert told(Activity(), events) == [
        "g4: in sync (1/6, 30 hosts/min, time left unknown)",
        "g0: 4 changes (2/6, 1 with changes, 40 hosts/min, time left unknown)",
        "g5: unreachable (3/6, 1 with changes, 1 unreachable, 1.0 hosts/s, 1 s left)",
        "g1: 1 change (4/6, 2 with changes, 1 unreachable, 1.0 hosts/s, 1 s left)",
        "g2: failed (5/6, 2 with changes, 1 unreachable, 1 failed, 1.0 hosts/s, 1 s left)",
        "g3: unknown (6/6, 2 with changes, 1 unknown, 1 unreachable, 1 failed, 1 min 15 s in all)",
    ]


def test_an_apply_says_what_was_changed() -> None:
    events: list[tuple[float, Event]] = [(0, RunStarted(2, APPLYING)), (0, TaskStarted("g1", RUN))]
    events += [(4, TaskEnded("g1", RUN)), ends(4, "g1", HostOutcome.CHANGES, 3), ends(5, "g2", HostOutcome.IN_SYNC)]
    assert told(Activity(), events) == [
        "g1: changed by 3 tasks (1/2, 1 changed, 15 hosts/min, time left unknown)",
        "g2: in sync (2/2, 1 changed, 5 s in all)",
    ]


def test_what_is_asked_is_done_and_no_more_is_said() -> None:
    events = [(0.0, RunStarted(2, "measuring")), ends(1, "g1", None), *fails(2, "g2", SILENT, HostOutcome.FAILED)]
    assert told(Activity(), events) == [
        "g1: done (1/2, 1.0 hosts/s, time left unknown)",
        "g2: failed (2/2, 1 failed, 2 s in all)",
    ]


def test_a_single_host_and_a_step_on_the_way_have_no_lines() -> None:
    assert told(Activity(), [(0, RunStarted(1)), ends(1, "g1", HostOutcome.IN_SYNC)]) == []
    passing = [(0.0, RunStarted(9, LOOKING, passing=True)), ends(1, "g1", HostOutcome.IN_SYNC)]
    assert told(Activity(), passing) == []


def test_500_hosts_have_500_lines_and_the_last_one_tells_all() -> None:
    activity = Activity()
    events: list[tuple[float, Event]] = [(0, RunStarted(500))]
    for number in range(500):
        events += [(number / 5, HostAt(f"g{number}", "looking")), ends(number / 5 + 20, f"g{number}", None)]
    lines = told(activity, sorted(events, key=lambda entry: entry[0]))
    assert len(lines) == 500
    assert lines[249] == "g249: done (250/500, 5.0 hosts/s, 50 s left)"
    assert lines[-1] == "g499: done (500/500, 2 min 00 s in all)"


def a_fleet(count: int) -> Activity:
    """`count` hosts, of which some are done, and as many at work as may be."""
    activity = Activity()
    activity.take(RunStarted(count, LOOKING), 0)
    for number in range(min(count, 200)):
        activity.take(HostAt(f"gpu-{number}", "connecting"), number / 10)
    for number in range(min(count, 200)):
        activity.take(HostAt(f"gpu-{number}", "looking"), 1 + number / 10)
    for number in range(0, min(count - 1, 190), 2):
        if number % 20 == 4:
            activity.take(HostFailed(f"gpu-{number}", UNREACHABLE, ()), 21)
            activity.take(HostEnded(f"gpu-{number}", HostOutcome.UNREACHABLE), 21)
        else:
            activity.take(HostEnded(f"gpu-{number}", HostOutcome.CHANGES, 2), 21)
    return activity


def test_a_terminal_shows_the_figures_and_the_slowest() -> None:
    assert a_fleet(500).lines(40, 76) == [
        "looking at 500 hosts, 40 s",
        "DONE    CHANGES  UNREACHABLE  FAILED  AT WORK  RATE         TIME LEFT",
        "95/500  85       10           0       105      4.8 hosts/s  34 s",
        "AT       HOSTS  SLOWEST",
        "looking  105    gpu-1 39 s, gpu-3 39 s, gpu-5 39 s",
    ]


def test_a_narrow_terminal_has_the_same_in_words() -> None:
    assert a_fleet(500).lines(40, 36) == [
        "looking at 500 hosts, 40 s",
        "95/500 done, 85 with changes, 10",
        "unreachable, 4.8 hosts/s, 34 s left",
        "AT       HOSTS  SLOWEST",
        "looking  105    gpu-1 39 s",
    ]


@pytest.mark.parametrize("count", [2, 5, 500])
@pytest.mark.parametrize("width", [1, 8, 20, 36, 76, 200])
@pytest.mark.parametrize("height", [1, 3, 7, 23])
def test_no_table_is_larger_than_its_terminal(count: int, width: int, height: int) -> None:
    activity = a_fleet(count)
    for number in range(count):
        activity.take(TaskStarted(f"gpu-{number}", f"a role of {number % 30} | Do a thing that has a long name"), 30)
    lines = activity.lines(40, width, height)
    assert 0 < len(lines) <= height
    assert max(map(len, lines)) <= width


def test_the_height_does_not_depend_on_the_number_of_hosts_nor_of_things() -> None:
    heights = set()
    for count in (40, 200, 500):
        activity = a_fleet(count)
        for number in range(count):
            activity.take(TaskStarted(f"gpu-{number}", f"task {number}"), 30)
        heights.add(len(activity.lines(40, 100, 100)))
    assert heights == {11}


def test_things_are_sorted_by_how_long_they_go_on_and_the_others_counted() -> None:
    activity = Activity()
    activity.take(RunStarted(40, APPLYING), 0)
    for number in range(40):
        activity.take(TaskStarted(f"g{number}", INSTALL if number < 30 else f"task {number}"), number)
    lines = activity.lines(50, 100)
    assert lines[3:5] == ["AT                         HOSTS  SLOWEST", f"{INSTALL}  30     g0 50 s, g1 49 s, g2 48 s"]
    assert lines[-1] == "and 5 things more"


def test_one_of_whom_nothing_is_known_is_no_number() -> None:
    activity = Activity()
    activity.take(RunStarted(500, LOOKING), 0)
    assert activity.lines(0, 100)[2].split() == ["0/500", "0", "0", "0", "unknown", "unknown"]


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (None, ""),
        (41.234, "41 hosts/s"),
        (4.126, "4.1 hosts/s"),
        (0.97, "1.0 hosts/s"),
        (0.5, "30 hosts/min"),
        (0.05, "3.0 hosts/min"),
        (0.01, "36 hosts/h"),
        (0.0001, "0.4 hosts/h"),
    ],
)
def test_rates_are_in_a_unit_that_has_digits(rate: float | None, said: str) -> None:
    assert frequency(rate) == said


def test_what_hosts_and_roles_are_called_moves_no_cursor_and_tells_no_secret() -> None:
    activity = Activity(lambda text: " ".join(text.split()).replace("s3cret", "***").replace("\x1b", "\\x1b"))
    activity.take(RunStarted(3, APPLYING), 0)
    activity.take(TaskStarted("g\x1b[2J", "mine | Do\n  s3cret"), 0)
    text = "\n".join([*activity.lines(9, 100), *activity.due(11)])
    assert "\x1b" not in text
    assert "s3cret" not in text
    assert "mine | Do ***" in text
    [line] = activity.ended(HostEnded("g\x1b[2J"), 12)
    assert line.startswith("g\\x1b[2J: done")
