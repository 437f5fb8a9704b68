"""What goes on, as lines: seldom in a log, in place on a terminal, and never a rate that nobody knows."""

from __future__ import annotations

import pytest

from steelyard.api.outcome import HostOutcome
from steelyard.errors import HostUnreachable
from steelyard.events import (
    APPLYING,
    LOOKING,
    BytesMoved,
    HostAt,
    HostEnded,
    HostFailed,
    RunStarted,
    TaskEnded,
    TaskProgress,
    TaskStarted,
)
from steelyard.render.activity import MOST_A_MINUTE, Activity, fitting
from steelyard.render.progress import Streams, amount, lasting, size

GB = 10**9
OF_FEW_COLUMNS = {"40", "hosts", "done", "time", "left"}
INSTALL = "vllm | Install the engine"


def test_a_log_gets_lines_at_growing_intervals_and_none_before_ten_seconds() -> None:
    activity = Activity()
    activity.take(RunStarted(1), 0)
    activity.take(TaskStarted("g1", INSTALL), 0)
    told = [second for second in range(600) for _ in activity.due(second)]
    assert told == [10, 20, 40, 100, 160, 220, 280, 340, 400, 460, 520, 580]


def test_short_tasks_say_nothing_however_many_there_are() -> None:
    activity = Activity()
    told = []
    for second in range(600):
        activity.take(TaskStarted("g1", f"task {second // 9}"), second)
        told += activity.due(second)
        if second % 9 == 8:
            activity.take(TaskEnded("g1", f"task {second // 9}"), second)
    assert told == []


def test_no_minute_of_500_hosts_has_more_than_a_few_lines() -> None:
    """Each host at its own pace, so many tasks go on at once, all of them long."""
    activity = Activity()
    activity.take(RunStarted(500), 0)
    told: list[int] = []
    for second in range(1800):
        for host in range(second % 7, 500, 7):
            step = (second + host) // 37
            activity.take(TaskEnded(f"g{host}", f"task {step - 1}"), second)
            activity.take(TaskStarted(f"g{host}", f"task {step}"), second)
        told += [second for _ in activity.due(second)]
    assert told
    for second in range(1800):
        assert len([at for at in told if second <= at < second + 60]) <= MOST_A_MINUTE


def test_a_line_of_a_log_has_task_hosts_bytes_rate_and_time() -> None:
    activity = Activity()
    activity.take(RunStarted(3, APPLYING), 0)
    activity.take(HostEnded("g3"), 0)
    for name in ("g1", "g2"):
        activity.take(TaskStarted(name, INSTALL), 0)
    for second in range(11):
        activity.take(BytesMoved("g1", "downloaded", second * 100_000_000, 4 * GB), second)
        activity.take(BytesMoved("g2", "downloaded", second * 200_000_000, 4 * GB), second)
    assert activity.due(10) == [
        "vllm | Install the engine: 2 hosts (g1, g2), 10 s; downloaded: 0 of 2 hosts whole, 3 of 8 GB, 300 "
        "MB/s, 30 s left; "
        "1 of 3 hosts done; 10 s in all"
    ]


def test_a_terminal_has_the_counts_then_what_goes_on_and_who_is_behind() -> None:
    activity = Activity()
    activity.take(RunStarted(3, APPLYING), 0)
    activity.take(HostEnded("g3"), 20)
    for name in ("g1", "g2"):
        activity.take(TaskStarted(name, INSTALL), 20)
        activity.take(BytesMoved(name, "downloaded", 0, 4 * GB), 20)
    activity.take(TaskStarted("gw", "gateway | Run"), 22)
    activity.take(BytesMoved("g2", "downloaded", 1 * GB, 4 * GB), 25)
    activity.take(HostFailed("gw", HostUnreachable(where="gw", why="", address=""), ()), 26)
    assert activity.lines(30, 100) == [
        "applying to 3 hosts, 30 s",
        "DONE  CHANGED  UNREACHABLE  FAILED  AT WORK  RATE           TIME LEFT",
        "1/3   0        1            0       3        4.0 hosts/min  unknown",
        "AT                         HOSTS  SLOWEST",
        "vllm | Install the engine  2      g1 10 s, g2 10 s",
        "  downloaded: 0 of 2 hosts whole, 1 of 8 GB, 100 MB/s, 1 waiting",
        "  g1: downloaded 0 of 4 GB, waiting",
        "  g2: downloaded 1 of 4 GB, 100 MB/s, 30 s left",
    ]
    activity.take(TaskProgress("g1", "unpacked", 12, 203, "wheels"), 31)
    assert "unpacked 12 of 203 wheels; downloaded 1 of 4 GB" in activity.lines(31, 200)[5]


def test_what_a_host_says_of_its_start_stands_beside_the_task() -> None:
    activity = Activity()
    activity.take(TaskStarted("g1", "vllm | Run the service"), 0)
    activity.take(TaskProgress("g1", "weights loaded"), 30)
    assert activity.lines(65, 100)[1] == "vllm | Run the service: g1, 1 min 05 s; weights loaded"
    activity.take(TaskProgress("g1", ""), 66)
    assert activity.lines(66, 100)[1] == "vllm | Run the service: g1, 1 min 06 s"


def test_looking_is_told_of_too_and_ends() -> None:
    activity = Activity()
    activity.take(RunStarted(40), 0)
    for number in range(40):
        activity.take(HostAt(f"g{number}", "looking"), 0)
    for number in range(12):
        activity.take(HostEnded(f"g{number}", HostOutcome.IN_SYNC), 9)
    [line] = activity.due(10)
    assert line.startswith("looking: 28 hosts (g12, g13, ")
    assert line.endswith(", 10 s; 12 of 40 hosts done; 10 s in all")
    for number in range(12, 40):
        activity.take(HostEnded(f"g{number}", HostOutcome.IN_SYNC), 12)
    assert not activity.busy


def test_a_push_without_a_task_is_a_thing_of_its_own_until_all_have_it() -> None:
    activity = Activity()
    for name in ("g1", "g2"):
        activity.take(BytesMoved(name, "llm/x v1", 0, 10 * GB), 0)
    activity.take(BytesMoved("g1", "llm/x v1", 5 * GB, 10 * GB), 5)
    assert activity.lines(6, 100)[1] == "2 hosts (g1, g2): llm/x v1: 0 of 2 hosts whole, 5 of 20 GB, 833 MB/s"
    for name in ("g1", "g2"):
        activity.take(BytesMoved(name, "llm/x v1", 10 * GB, 10 * GB), 20)
    assert (activity.busy, activity.lines(21, 100)) == (False, ["21 s"])
    activity.take(BytesMoved("g1", "llm/y v1", 0, 2 * GB), 22)
    assert activity.lines(23, 100)[1:] == ["g1: llm/y v1 0 of 2 GB"], "the next model is another stream"


@pytest.mark.parametrize("width", [20, 40, 79, 100])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_cut(width: int) -> None:
    activity = Activity()
    activity.take(RunStarted(40), 0)
    for number in range(40):
        activity.take(TaskStarted(f"gpu-node-{number:03}.rack-7.example", INSTALL), 0)
        activity.take(BytesMoved(f"gpu-node-{number:03}.rack-7.example", "downloaded", number, 10**7), 1)
    whole = set(" ".join(activity.lines(30, 1000)).replace("...", " ").split())
    whole |= {f"gpu-node-{number:03}.rack-7.example" for number in range(40)}
    lines = activity.lines(30, width)
    assert max(map(len, lines)) <= width
    for line in lines:
        words = line.removesuffix("...").split()
        assert {word.rstrip(" ,;:") for word in words} <= {word.rstrip(" ,;:") for word in whole} | OF_FEW_COLUMNS
    assert fitting("one two three", 9) == "one..."


def test_a_rate_is_of_the_last_seconds_and_nothing_is_said_while_it_is_unknown() -> None:
    streams = Streams()
    streams.moved("h", "x", 0, 100_000_000, now=0)
    assert streams.words(["h"], 0.5) == "x 0 of 100 MB"
    streams.moved("h", "x", 30_000_000, 100_000_000, now=3)
    assert streams.words(["h"], 3) == "x 30 of 100 MB, 10 MB/s, 7 s left"
    assert streams.words(["h"], 20) == "x 30 of 100 MB, waiting"
    streams.moved("h", "x", 30_400_000, 100_000_000, now=40)
    assert streams.words(["h"], 41) == "x 30 of 100 MB, 40 kB/s, 29 min 00 s left"
    streams.moved("h", "x", 100_000_000, 100_000_000, now=50)
    assert streams.words(["h"], 51) == "x 100 of 100 MB"
    streams.moved("h", "y", 5_000, 0, now=60)
    assert streams.words(["h"], 62) == "y 5 kB so far"


def test_what_was_there_when_a_stream_began_is_no_rate() -> None:
    streams = Streams()
    streams.moved("h", "x", 90_000_000, 100_000_000, now=0)
    assert "/s" not in streams.words(["h"], 5)


def test_no_rate_is_ever_nothing() -> None:
    for exponent in range(12):
        streams = Streams()
        streams.moved("h", "x", 0, 10**13, now=0)
        streams.moved("h", "x", 10**exponent, 10**13, now=5)
        assert " 0 " not in streams.words(["h"], 5).replace("x 0 of", "")
    assert (size(1_250_000_000), size(450e6), size(800), amount(0, 9), amount(300_000_000, 1_200_000_000)) == (
        "1.2 GB",
        "450 MB",
        "800 B",
        "0 of 9 B",
        "0.3 of 1.2 GB",
    )
    assert (lasting(8.4), lasting(125), lasting(4800)) == ("8 s", "2 min 05 s", "1 h 20 min")


@pytest.mark.parametrize("width", [0, 1, 2, 5, 9, 15, 40])
def test_a_terminal_that_is_narrow_gets_no_wider_line(width: int) -> None:
    activity = Activity()
    for number in range(12):
        activity.take(TaskStarted("g1", f"task {number}"), 0)
    lines = activity.lines(30, width)
    assert len(lines) == 5
    assert max(map(len, lines)) <= width


def test_a_line_of_a_log_has_an_end_though_500_hosts_get_500_things() -> None:
    activity = Activity()
    activity.take(RunStarted(500), 0)
    for number in range(500):
        activity.take(TaskStarted(f"g{number}", INSTALL), 0)
        activity.take(BytesMoved(f"g{number}", f"version {number}", number, GB), 1)
    [line] = activity.due(30)
    assert "; and 497 things more; 0 of 500 hosts done" in line
    assert len(line) < 300


def test_a_title_of_several_lines_is_one() -> None:
    activity = Activity()
    activity.take(TaskStarted("g1", "mine | Do\n  this"), 0)
    assert activity.lines(20, 80)[1] == "mine | Do this: g1, 20 s"


def test_odd_sizes_and_times() -> None:
    assert (size(999_999), size(999_999_999), size(350e12), amount(1, 999_999_999_999)) == (
        "1 MB",
        "1 GB",
        "350 TB",
        "0 of 1 TB",
    )
    assert amount(5, 3) == "3 of 3 B", "more came than was announced"
    assert lasting(-3) == "0 s"


def test_a_push_behind_a_look_is_told_of_by_itself() -> None:
    """The look at the stores is over, and its figures with it."""
    activity = Activity()
    activity.take(RunStarted(2, LOOKING, passing=True), 0)
    for name in ("g1", "g2"):
        activity.take(HostAt(name, "looking"), 0)
        activity.take(HostEnded(name), 1)
    assert activity.lines(1, 100)[0] == "looking at 2 hosts, 1 s"
    activity.take(BytesMoved("g1", "llm/x v1", 0, 10 * GB), 2)
    assert activity.lines(3, 100) == ["3 s", "g1: llm/x v1 0 of 10 GB"]
    [line] = activity.due(12)
    assert "hosts done" not in line
