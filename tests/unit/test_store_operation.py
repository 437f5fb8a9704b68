"""What `version_published` decides from a host's answer: send what is missing, refuse what must not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from steelyard.api.change import Refusal
from steelyard.models.content.manifest import Manifest, ManifestFile
from steelyard.models.distribution.target_state import bytes_to_send
from steelyard.modules.operations import store
from steelyard_host.wire.codec import from_json
from steelyard_host.wire.store import VersionState

MANIFEST = Manifest("id-1", {"a": ManifestFile(5, "A", "a", ()), "b": ManifestFile(7, "B", "b", ())})
EMPTY: dict[str, Any] = {
    "published": None,
    "unrecorded": False,
    "altered": [],
    "current": None,
    "free_bytes": 2**40,
    "held": [],
    "staged_bytes": 0,
}


def stored(**fields: Any) -> VersionState:
    return from_json(VersionState, EMPTY)._replace(**fields)


def commands(answer: dict[str, Any] | None) -> list[Any]:
    with patch.object(store, "host") as host:
        host.get_fact.return_value = answer
        return list(store.version_published._inner("/models", "llm/x", "v1", Path("/src"), MANIFEST))  # type: ignore[attr-defined]


def test_published_version_is_left_alone() -> None:
    assert commands({**EMPTY, "published": "id-1"}) == []


def test_missing_version_is_sent_and_only_what_the_host_lacks_needs_room() -> None:
    [stage] = commands({**EMPTY, "held": ["a"]})
    assert (stage.live, stage.subject) == ("missing", "/models/llm/x/v1")
    assert [bytes_to_send(MANIFEST, stored(held=held)) for held in ((), ("a",), ("a", "b"))] == [12, 7, 0]
    assert bytes_to_send(MANIFEST, stored(staged_bytes=10)) == 2


def test_altered_file_is_sent_again_and_named() -> None:
    [stage] = commands({**EMPTY, "published": "id-1", "altered": ["b"], "held": ["a"]})
    assert stage.live == "altered: b"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"published": "id-2"}, "versions do not change"),
        ({"unrecorded": True}, "was not published by steelyard"),
        ({"free_bytes": 1000}, "0.0 GiB free; make room, nothing was copied"),
    ],
)
def test_what_must_not_happen_is_refused(answer: dict[str, Any], reason: str) -> None:
    [refusal] = commands({**EMPTY, **answer})
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason
