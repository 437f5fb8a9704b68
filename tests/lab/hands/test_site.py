"""The ground that the other tests of this folder stand on: in sync, and served by both replicas."""

from __future__ import annotations

from support.hands_site import HandsSite


def test_the_site_is_in_sync_and_answers(hands: HandsSite) -> None:
    assert hands.changed("plan") == {}
    with hands.load("pair") as load:
        hands.json("status")
    assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons
    assert load.counts.by_version.keys() == {"v1"}
