"""What controller and helper say to each other during a push: the lines stay, and older ones are understood."""

from __future__ import annotations

import json
from typing import Any

import pytest

from steelyard_host.wire import relay
from steelyard_host.wire.codec import WireError, to_json

PEER = {"name": "h1", "address": "10.0.0.11", "port": 4711}
MANIFEST: dict[str, object] = {"id": "ab", "files": {"f": {"chunks": [[1, "cd"]]}}, "tensors": {}}
RECEIVE = {"manifest": MANIFEST, "certificate": "C", "key": "K", "address": "10.0.0.10", "rate": None, "base": None}
CORRUPT = {"file": "f", "chunk": 7, "peer": "h1"}


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (relay.ReceiveCommand(MANIFEST, "C", "K", "10.0.0.10"), RECEIVE),
        (relay.AdoptCommand(MANIFEST), {"manifest": MANIFEST}),
        (relay.PullCommand(relay.Predecessor("h1", "10.0.0.11", 4711)), {"pull": PEER}),
        (relay.PullCommand(None), {"pull": None}),
        (relay.MissingCommand(), {"missing": True}),
        (relay.EchoCommand(), {"echo": True}),
        (relay.StopCommand(), {"stop": True}),
        (relay.Alive(), {"alive": True}),
        (relay.Ready(9, ((0, 3), (5, 5)), 12), {"ready": 9, "missing": [[0, 3], [5, 5]], "bytes": 12, "base": None}),
        (relay.Missing(()), {"missing": []}),
        (relay.Echo(), {"echo": True}),
        (relay.BytesHeld(3, 12), {"at": 3, "bytes": 12}),
        (relay.Lost("h1", "timed out"), {"lost": "h1", "why": "timed out"}),
        (relay.Corrupt(relay.CorruptChunk("f", 7, "h1")), {"corrupt": CORRUPT}),
        (relay.Published("ab", 12), {"published": "ab", "received": 12}),
        (relay.Adopted("ab"), {"published": "ab"}),
        (relay.Failed("the disk is full"), {"error": "the disk is full"}),
        (relay.ChunkRequest("ab", ((0, 3),)), {"version": "ab", "want": [[0, 3]], "base": None}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_written_with_the_keys_that_other_releases_know(value: object, line: dict[str, Any]) -> None:
    assert json.dumps(to_json(value)) == json.dumps(line)


def test_a_command_is_told_by_its_key() -> None:
    assert relay.relay_command({"pull": PEER, "newer": 1}) == relay.PullCommand(
        relay.Predecessor("h1", "10.0.0.11", 4711)
    )
    assert relay.relay_command({"pull": None}) == relay.PullCommand(None)
    commands = [relay.relay_command({key: True}) for key in ("missing", "echo", "stop", "newer")]
    assert commands == [relay.MissingCommand(), relay.EchoCommand(), relay.StopCommand(), None]


def test_an_event_is_told_by_its_key_and_ready_is_no_missing() -> None:
    ready = {"ready": 9, "missing": [[0, 3]], "bytes": 12, "newer": 1}
    assert relay.relay_event(ready) == relay.Ready(9, ((0, 3),), 12), "an older helper knows no base"
    assert relay.relay_event({"missing": [[0, 3]]}) == relay.Missing(((0, 3),))
    assert relay.relay_event({"at": 3, "bytes": 12}) == relay.BytesHeld(3, 12)
    assert relay.relay_event({"published": "ab"}) == relay.Published("ab"), "store-adopt says no bytes"
    assert relay.relay_event({"corrupt": CORRUPT}) == relay.Corrupt(relay.CorruptChunk("f", 7, "h1"))
    assert [type(relay.relay_event({key: True})) for key in ("alive", "echo")] == [relay.Alive, relay.Echo]
    assert relay.relay_event({"lost": "h1", "why": "timed out"}) == relay.Lost("h1", "timed out")
    assert relay.relay_event({"error": "no"}) == relay.Failed("no")
    assert relay.relay_event({"newer": 1}) is None


@pytest.mark.parametrize("pairs", [[[0, 1], [2]], [[0, True]], [[0, "1"]], [5], [[0, 1, 2]]], ids=str)
def test_ranges_that_are_none_are_refused_with_their_place(pairs: list[object]) -> None:
    with pytest.raises(WireError, match=rf"^`missing\[{len(pairs) - 1}\]"):
        relay.relay_event({"missing": pairs})


@pytest.mark.parametrize("document", [[], "alive", 3, {"at": 3}, {"ready": "9", "missing": [], "bytes": 0}], ids=str)
def test_what_is_none_is_refused(document: object) -> None:
    with pytest.raises(WireError):
        relay.relay_event(document)
