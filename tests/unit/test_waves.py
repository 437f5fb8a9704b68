"""The arithmetic of waves and of failures, for any fleet; and the engine on hosts that fail where they are told to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from steelyard.engine.waves import FailLimit, Share, waves_of
from steelyard.errors import ShareWrong

names = some.lists(some.integers(0, 10_000).map(lambda number: f"h{number}"), unique=True, max_size=60)
shares = some.one_of(
    some.integers(1, 80).map(lambda count: Share(count)), some.integers(1, 100).map(lambda count: Share(count, True))
)


@given(names, some.none() | shares)
def test_waves_hold_every_host_once_and_in_order(hosts: list[str], serial: Share | None) -> None:
    waves = list(waves_of(hosts, serial))
    assert [name for wave in waves for name in wave] == hosts
    assert all(waves)


@given(names, shares)
def test_no_wave_is_larger_than_allowed_and_only_the_last_is_smaller(hosts: list[str], serial: Share) -> None:
    sizes = [len(wave) for wave in waves_of(hosts, serial)]
    most = max(1, serial.of(len(hosts)))
    assert all(size == most for size in sizes[:-1])
    assert all(0 < size <= most for size in sizes)


@given(names, shares, some.data())
def test_the_limit_is_exceeded_exactly_when_more_hosts_failed_than_may(
    hosts: list[str], allowed: Share, data: some.DataObject
) -> None:
    failing = data.draw(some.lists(some.sampled_from(hosts or ["h"]), max_size=80))
    limit = FailLimit(len(hosts), allowed)
    for name in failing:
        limit.note(name)  # the same host twice counts once
    assert limit.exceeded == (len(set(failing)) > allowed.of(len(hosts)))


@given(some.integers(0, 5000), some.integers(0, 100))
def test_a_percentage_never_allows_more_than_its_share(total: int, percent: int) -> None:
    assert Share(percent, True).of(total) * 100 <= percent * total


@given(some.integers(0, 999), some.booleans(), some.sampled_from(["", " "]))
def test_what_is_written_is_what_is_read(count: int, percent: bool, space: str) -> None:
    if percent and count > 100:
        count %= 101
    assert Share.parse(f"{space}{count}{space}{'%' * percent}", "--max-fail") == Share(count, percent)


@pytest.mark.parametrize("text", ["", "-1", "half", "101%", "1.5", "5 hosts", "0x3", "9999999"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ShareWrong) as caught:
        Share.parse(text, "--serial", least=1)
    assert "--serial 25%" in caught.value.remedy


def test_a_wave_of_none_is_refused_and_a_limit_of_none_is_not() -> None:
    with pytest.raises(ShareWrong):
        Share.parse("0", "--serial", least=1)
    assert Share.parse("0", "--max-fail") == Share(0)


def test_without_a_limit_nothing_is_exceeded() -> None:
    limit = FailLimit(3)
    for name in "abc":
        limit.note(name)
    assert (limit.exceeded, limit.most) == (False, None)
