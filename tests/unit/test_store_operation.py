"""What `published` decides from a host's answer: send what is missing, refuse what must not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from steelyard.modules.operations import store
from steelyard.refusal import Refusal
from steelyard.source import Manifest

MANIFEST = Manifest("id-1", {"a": {"size": 5, "sha256": "A"}, "b": {"size": 7, "sha256": "B"}})
EMPTY: dict[str, Any] = {
    "published": None, "unrecorded": False, "altered": [], "current": None, "free_bytes": 2**40, "held": [], "staged": [],
}  # fmt: skip


def commands(answer: dict[str, Any] | None) -> list[Any]:
    with patch.object(store, "host") as host:
        host.get_fact.return_value = answer
        return list(store.published._inner("/models", "llm/x", "v1", Path("/src"), MANIFEST))  # type: ignore[attr-defined]


def test_published_version_is_left_alone() -> None:
    assert commands({**EMPTY, "published": "id-1"}) == []


def test_missing_version_is_sent_less_what_the_host_holds() -> None:
    [stage] = commands({**EMPTY, "held": ["A"]})
    assert stage.function.__self__.send == ["b"]


def test_altered_file_is_sent_again_and_named() -> None:
    [stage] = commands({**EMPTY, "published": "id-1", "altered": ["b"], "held": ["A"]})
    assert (stage.live, stage.function.__self__.send) == ("altered: b", ["b"])


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


def test_stream_ends_early_when_the_source_shrank(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"123")
    sent = store.StageStream("/models", "llm/x", "v1", tmp_path, MANIFEST, ["a", "b"])
    assert b"".join(sent.chunks()).endswith(b"12345123")
