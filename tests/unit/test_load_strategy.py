"""Which way of loading is chosen, and who warms up when: decisions out of figures, without an engine."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from steelyard.models.load_strategy import DEFAULT, Measured, ProbeHead, Sample, chosen_options, probe_line
from steelyard_host.memory import lock as tier
from steelyard_host.memory import warm
from steelyard_host.wire.relay import Failed

STRATEGIES = {DEFAULT: {}, "prefetch-8": {"safetensors_load_strategy": "prefetch"}, "eager": {}, "odd": {}}
HEAD = ProbeHead("0.32.0", "2.13", "cpu", 1, STRATEGIES)


def measured(**samples: list[float]) -> Measured:
    found = Measured(HEAD)
    for name, seconds in {"default": [4.0, 4.0, 4.0, 4.0], **samples}.items():
        for each in seconds:
            for cache in ("cold", "warm"):
                found.take(Sample(name.replace("_", "-"), cache, each))
    return found


@pytest.mark.parametrize(
    ("samples", "winner"),
    [
        ({"prefetch_8": [3.0, 3.0, 3.0, 3.0]}, "prefetch-8"),
        ({"prefetch_8": [3.8, 3.8, 3.8, 3.8]}, DEFAULT),  # within the noise
        ({"prefetch_8": [1.0, 1.0, 9.0, 9.0]}, DEFAULT),  # loses half of the pairs
        ({"prefetch_8": [1.0, 1.0, 1.0, 9.0]}, "prefetch-8"),
        ({"prefetch_8": [3.0] * 4, "eager": [2.0] * 4}, "eager"),
        ({"eager": [16.0] * 4}, DEFAULT),
        ({}, DEFAULT),
    ],
)
def test_a_way_is_chosen_only_where_it_beats_the_default_beyond_noise(
    samples: dict[str, list[float]], winner: str
) -> None:
    assert measured(**samples).winner("cold") == winner


def test_a_way_that_failed_is_never_chosen() -> None:
    found = measured(odd=[1.0, 1.0, 1.0])
    found.take(Sample("odd", "cold", error="OutOfMemoryError"))
    assert found.winner("warm") == DEFAULT
    assert (found.ratio("odd", "cold"), found.median("odd", "cold")) == (None, None)


def test_lines_of_the_probe_become_values_and_unknown_keys_do_not_hurt() -> None:
    assert probe_line({**HEAD._asdict(), "newer": 1}) == HEAD
    assert probe_line({"strategy": "eager", "cache": "cold", "seconds": 2}) == Sample("eager", "cold", 2.0)
    failed = {"strategy": "odd", "cache": "warm", "error": "OutOfMemoryError"}
    assert probe_line(failed) == Sample("odd", "warm", error="OutOfMemoryError")
    assert probe_line({"error": "the probe ended with 1"}) == Failed("the probe ended with 1")
    assert probe_line({"newer": 1}) is None


def test_facts_become_options_of_the_engine_by_whether_the_version_fits() -> None:
    facts = measured(prefetch_8=[3.0] * 4).as_facts("llm/x", "v1", 100)
    facts["warm"] = {"strategy": DEFAULT, "options": {}}
    known = {"memory_bytes": 1000, "engines": {"/opt/e": facts}}
    assert chosen_options(known, "/opt/e") == {}
    assert chosen_options({**known, "memory_bytes": 110}, "/opt/e") == {"safetensors-load-strategy": "prefetch"}
    assert chosen_options(known, "/opt/other") == chosen_options(None, "/opt/e") == {}


# Turns


def test_the_lowest_order_reads_first_and_no_more_than_allowed_together(tmp_path: Path) -> None:
    began: list[int] = []
    together: list[int] = []
    now = threading.Semaphore(0)
    reading = 0
    lock = threading.Lock()

    def one(order: int) -> None:
        nonlocal reading
        with warm.turn(warm.Turn(order, 1), time.monotonic() + 60, tmp_path) as first:
            assert first
            with lock:
                began.append(order)
                reading += 1
                together.append(reading)
            time.sleep(0.2)
            with lock:
                reading -= 1
        now.release()

    threads = [threading.Thread(target=one, args=(order,)) for order in (300, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (began, max(together), list(tmp_path.iterdir())) == ([100, 200, 300], 1, [])


def test_a_ticket_of_a_dead_process_holds_nobody_up_and_time_ends_a_wait(tmp_path: Path) -> None:
    (tmp_path / "00000001-00000000000000000001-1").touch()
    with warm.turn(warm.Turn(100, 1), time.monotonic() + 60, tmp_path) as first:
        assert first
    program = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from steelyard_host.memory import warm
        with warm.turn(warm.Turn(1, 1), time.monotonic() + 60, Path({str(tmp_path)!r})):
            print("here", flush=True)
            time.sleep(60)
    """)
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "here\n"
    with warm.turn(warm.Turn(100, 1), time.monotonic() + 1, tmp_path) as first:
        assert not first
    other.kill()
    other.wait()
    with warm.turn(warm.Turn(100, 1), time.monotonic() + 60, tmp_path) as first:
        assert first


# The budget


@pytest.mark.parametrize(
    ("wanted", "budget", "sizes", "gone"),
    [
        (10, 100, {}, []),
        (10, 5, {}, None),
        (50, 100, {"a": 40, "b": 40}, ["a"]),
        (90, 100, {"a": 40, "b": 40}, ["a", "b"]),
        (20, 100, {"a": 40, "b": 40}, []),
        (100, 100, {"a": 1}, ["a"]),
    ],
)
def test_who_was_not_asked_for_longest_goes_first(
    wanted: int, budget: int, sizes: dict[str, int], gone: list[str] | None
) -> None:
    found = tier.evicted(wanted, budget, {Path(name): size for name, size in sizes.items()})
    assert found == (None if gone is None else [Path(name) for name in gone])
