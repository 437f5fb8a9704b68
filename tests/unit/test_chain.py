"""Who takes from whom: decisions only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from steelyard.models.distribution.chain import ORIGIN, WINDOW_S, RelayChain, ThroughputTracker

NAMES = [f"h{number}" for number in range(6)]


def origin_feeds(chain: RelayChain) -> list[str]:
    return chain.successors(ORIGIN)


def reached(chain: RelayChain) -> set[str]:
    """Hosts to which the origin's chunks can come."""
    found, ahead = set(), origin_feeds(chain)
    while ahead:
        host = ahead.pop()
        found.add(host)
        ahead += chain.successors(host)
    return found


def test_one_chain_a_rack_and_heads_take_from_the_first_head() -> None:
    chain = RelayChain(["a1", "b1", "a2", "b2", "c1"], {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c1": "c"})
    assert chain.feeds == {"a1": ORIGIN, "b1": "a1", "a2": "a1", "b2": "b1", "c1": "a1"}


def test_a_host_that_leaves_is_inherited_and_the_origin_feeds_one_only() -> None:
    chain = RelayChain(["a1", "b1", "a2"], {"a1": "a", "a2": "a", "b1": "b"})
    assert chain.leave("a1") == ["b1", "a2"]
    assert chain.feeds == {"b1": ORIGIN, "a2": "b1"}


def test_a_slow_host_becomes_a_leaf_and_a_slow_head_takes_from_its_heir() -> None:
    chain = RelayChain(NAMES[:4])
    assert chain.bypass("h1") == ["h2"]
    assert chain.feeds == {"h0": ORIGIN, "h1": "h0", "h2": "h0", "h3": "h2"}
    assert chain.bypass("h0") == ["h1", "h2", "h0"]
    assert chain.feeds == {"h0": "h1", "h1": ORIGIN, "h2": "h1", "h3": "h2"}


@given(st.lists(st.tuples(st.sampled_from(["leave", "bypass"]), st.sampled_from(NAMES)), max_size=12), st.booleans())
def test_whatever_happens_everyone_left_is_reached_and_the_origin_is_read_once(
    what: list[tuple[str, str]], racks: bool
) -> None:
    chain = RelayChain(NAMES, {name: str(number % 2) for number, name in enumerate(NAMES)} if racks else None)
    for action, host in what:
        if host in chain.feeds:
            getattr(chain, action)(host)
        assert reached(chain) == set(chain.feeds)
        assert len(origin_feeds(chain)) == min(1, len(chain.feeds))


def tracked(
    rates: dict[str, float], seconds: int, tracker: ThroughputTracker | None = None, start: float = 0.0
) -> ThroughputTracker:
    """Bytes as hosts at these rates would tell, every quarter of a second."""
    tracker = tracker or ThroughputTracker(1000)
    for tick in range(seconds * 4 + 1):
        for name, rate in rates.items():
            tracker.record(name, start + tick / 4, int(rate * tick / 4))
    return tracker


def test_only_who_holds_a_successor_up_is_slow() -> None:
    chain = RelayChain(NAMES[:4])
    even = tracked(dict.fromkeys(NAMES[:4], 50.0), 6)
    assert even.slow(chain, 6.0) == []
    held_up = tracked({"h0": 50.0, "h1": 5.0, "h2": 5.0, "h3": 5.0}, 6)
    assert held_up.slow(chain, 6.0) == ["h1"], "those behind it wait for it"
    chain.bypass("h1")
    held_up.restart("h2", 6.0)
    assert held_up.slow(chain, 6.0) == [], "h2 has not shown yet what it can take from h0"
    assert held_up.slow(chain, 6.0 + 2 * WINDOW_S + 0.1) == ["h2"]
    last = tracked({"h0": 50.0, "h1": 50.0, "h2": 50.0, "h3": 5.0}, 6)
    assert last.slow(RelayChain(NAMES[:4]), 6.0) == [], "nobody waits for the last"
