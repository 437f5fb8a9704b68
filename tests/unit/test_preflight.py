"""Schedules in which no link is measured twice at once, and verdicts against a floor."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from steelyard.hardware.floor import Grade, Link, Measure, disk_measure, hardware_measures, link_measures, worst
from steelyard.hardware.link_schedule import rounds
from steelyard.render.preflight_page import page
from steelyard.roles.preflight.settings import Settings
from steelyard.roles.registry_mirror.mirrors import Mirror, order_in, ordered
from steelyard_host.wire.codec import from_json
from steelyard_host.wire.hardware import DiskRate, HostHardware

FLOOR = Settings.model_validate({})
GOOD: dict[str, Any] = {
    "cores": 64,
    "memory_bytes": 512 << 30,
    "storage_bytes": 4 << 40,
    "free_bytes": 3 << 40,
    "disks": [{"name": "nvme0n1", "bytes": 1 << 40, "rotational": False}],
    "raid": [],
    "clock": {"now": 0, "synchronized": True},
    "secure_boot": False,
    "distro": "debian 12",
    "kernel": "6.1",
    "names": {},
    "acs": [],
    "iommu": False,
    "tools": {},
}


@given(st.integers(0, 40))
def test_every_pair_once_and_no_host_twice_in_a_round(count: int) -> None:
    hosts = tuple(f"h{number}" for number in range(count))
    plan = rounds(hosts)
    pairs = [frozenset(pair) for each in plan for pair in each]
    assert len(pairs) == len(set(pairs)) == count * (count - 1) // 2
    for each in plan:
        busy = [host for pair in each for host in pair]
        assert len(busy) == len(set(busy))


@given(st.integers(2, 500), st.integers(1, 7))
def test_some_rounds_reach_every_host_of_an_even_fleet(count: int, most: int) -> None:
    hosts = tuple(f"h{number}" for number in range(count * 2))
    assert all(len(each) == count for each in rounds(hosts, most))


def grades(measures: list[Measure]) -> dict[str, Grade]:
    return {measure.name: measure.grade for measure in measures}


def test_a_good_host_is_good() -> None:
    measures = [
        *hardware_measures(from_json(HostHardware, GOOD), FLOOR, 0.0),
        disk_measure(DiskRate(3e9, None), FLOOR),
        *link_measures(Link("h2", 25e9, 0.1, True), FLOOR),
    ]
    assert worst(measures) is Grade.GOOD


def test_each_thing_below_its_floor_is_told_with_a_fix() -> None:
    bad = {
        **GOOD,
        "cores": 4,
        "memory_bytes": 8 << 30,
        "storage_bytes": 100 << 30,
        "free_bytes": 9 << 30,
        "disks": [{"name": "sda", "bytes": 1 << 40, "rotational": True}],
        "secure_boot": True,
        "distro": "debian 11",
        "names": {"mirror": False},
        "acs": ["0000:00:01.0"],
        "iommu": True,
        "clock": {"now": 0, "synchronized": False},
    }
    floor = Settings.model_validate({"raid": "raid1"})
    measures = hardware_measures(from_json(HostHardware, bad), floor, 60.0)
    assert {name for name, grade in grades(measures).items() if grade is Grade.BELOW} == {
        "cores",
        "memory",
        "storage",
        "free space",
        "SSD",
        "RAID",
        "clock",
        "distribution",
        "name mirror",
    }
    assert {name for name, grade in grades(measures).items() if grade is Grade.LOW} == {"Secure Boot", "ACS", "IOMMU"}
    assert all(measure.fix for measure in measures)


def test_links_have_a_recommended_and_a_least_rate() -> None:
    found = {rate: link_measures(Link("h2", rate, 5.0, True), FLOOR)[0].grade for rate in (2e9, 5e8, 5e7)}
    assert list(found.values()) == [Grade.GOOD, Grade.LOW, Grade.BELOW]
    assert link_measures(Link("h2", None, None, False, "iperf3 is not installed"), FLOOR)[0].grade is Grade.UNKNOWN
    assert grades(link_measures(Link("h2", 2e9, 50.0, False), FLOOR)) == {
        "rate to h2": Grade.GOOD,
        "round trip to h2": Grade.BELOW,
        "MTU to h2": Grade.BELOW,
    }


def test_the_page_escapes_what_hosts_say_and_has_a_bar_per_number() -> None:
    measures = [Measure("<b>", Grade.BELOW, "<script>", "x", "y", 1.0, 2.0, "GB")]
    text = page({"h1": measures}, {"h2": "<unreachable>"})
    assert ("<script>" in text, "&lt;script&gt;" in text, "width: 25%" in text, "&lt;unreachable&gt;" in text) == (
        False,
        True,
        True,
        True,
    )


def test_mirrors_keep_their_order_until_one_is_much_faster() -> None:
    a, b, c = Mirror("a", 100.0), Mirror("b", 150.0), Mirror("c", None, "refused")
    assert ordered((a, b, c), ("a", "b", "c")) == ("a", "b", "c")
    assert ordered((a, b, c), ("b", "a", "c")) == ("b", "a", "c")
    assert ordered((c, a, Mirror("b", 500.0)), ("c", "a", "b")) == ("b", "a", "c")


def test_todays_order_is_read_from_the_file_with_or_without_schemes() -> None:
    urls = ("http://a:5001", "https://b", "http://c:1")
    assert order_in('[host."https://b"]\n[host."http://a:5001"]', urls) == ("https://b", "http://a:5001")
    assert order_in('location = "a:5001"\nlocation = "b"', urls) == ("http://a:5001", "https://b")


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=6))
def test_an_order_stays_when_measured_again_with_the_same_rates(rates: list[float]) -> None:
    mirrors = tuple(Mirror(str(number), rate) for number, rate in enumerate(rates))
    once = ordered(mirrors, ())
    assert ordered(mirrors, once) == once
