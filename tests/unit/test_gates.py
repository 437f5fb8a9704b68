"""When a new version is worse than the old one: by its times and its errors, and never by too few answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.rollout.comparison import Figures, canary_weight, figures, grown, why_worse
from steelyard_host.wire.services import EngineCounters

OLD = Figures(0.1, 0.02, 100, 1)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (Figures(0.19, 0.02, 100, 0), None),
        (
            Figures(0.21, 0.02, 100, 0),
            "a first token took 0.210 s, and 0.100 s with the old version: more than 1.5 times",
        ),
        (
            Figures(0.1, 0.09, 100, 0),
            "a further token took 0.090 s, and 0.020 s with the old version: more than 1.5 times",
        ),
        (Figures(None, None, 3, 0), None),
        (Figures(0.1, 0.02, 99, 1), None),
        (Figures(0.1, 0.02, 90, 10), "10 of 100 answers failed, and 1 of 101 of the old version"),
        (Figures(None, None, 0, 4), "4 of 4 answers failed, and 1 of 101 of the old version"),
    ],
)
def test_a_version_is_worse_by_its_numbers(new: Figures, said: str | None) -> None:
    assert why_worse(new, OLD, 1.5) == said


def test_means_are_over_all_engines_of_a_side() -> None:
    one, two = EngineCounters(1.0, 10.0), EngineCounters(5.0, 10.0)
    assert figures([one, two], 20, 0) == Figures(0.3, None, 20, 0)


def test_too_few_answers_tell_nothing() -> None:
    few = EngineCounters(9.0, 4.0)
    assert figures([few], 4, 0).first_token_s is None


def test_counters_of_an_engine_that_was_started_anew_begin_at_zero() -> None:
    before = EngineCounters(10.0, 3.0)
    assert grown(before, EngineCounters(12.0, 3.0)) == EngineCounters(2.0, 0.0)
    assert grown(before, EngineCounters(2.0, 4.0)) == EngineCounters(2.0, 4.0)
    assert grown(before, EngineCounters()) == EngineCounters()  # it does not answer


@given(st.integers(1, 50), st.lists(st.integers(1, 256), min_size=1, max_size=20))
def test_a_canary_gets_about_its_share(percent: int, others: list[int]) -> None:
    weight = canary_weight(percent / 100, others)
    got = weight / (weight + sum(others))
    assert 0 < weight <= 256
    assert got >= percent / 100 - 1e-9 or weight == 256
    assert got <= percent / 100 + 1 / (sum(others) + 1) + 1e-9
