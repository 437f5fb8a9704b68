"""Sources: pickle refused, hostile safetensors headers refused, hashes computed once."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from steelyard.errors import SourceMissing, SourceRefused
from steelyard.lab import tiny_model
from steelyard.source import header_problem, kept_hash, read_manifest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


GOOD = {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"1234", "shorter than"),
        (safetensors(GOOD, b"1234", length=2**62), "claims 4611686018427387904 bytes"),
        (safetensors(b"{nope", b""), "not JSON"),
        (safetensors([], b""), "not an object"),
        (safetensors({"a": {"dtype": "U8"}}, b""), "no offsets"),
        (safetensors(GOOD, b"123"), "the file does not"),
        (safetensors(GOOD, b"12345"), "the file does not"),
        (safetensors({"a": {"data_offsets": [2, 4]}}, b"1234"), "leave gaps at byte 0"),
        (safetensors({"a": {"data_offsets": [0, 3]}, "b": {"data_offsets": [2, 4]}}, b"1234"), "overlap"),
        (safetensors({"a": {"data_offsets": [0, "4"]}}, b"1234"), "overlap or leave gaps"),
    ],
)
def test_hostile_header_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert why in str(header_problem(path))


def test_good_header_passes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(GOOD, b"1234"))
    assert header_problem(path) is None


def test_pickle_weights_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(SourceRefused, match=r"model\.bin` is refused: pickle weights"):
        read_manifest("llm/x", f"file://{tmp_path}", "models.yml")


def test_missing_and_empty_sources_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("nope", "empty"):
        with pytest.raises(SourceMissing):
            read_manifest("llm/x", f"file://{tmp_path / folder}", "models.yml")


def test_hash_is_read_once_and_again_after_a_change(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    first = kept_hash(path)
    cached = next((tmp_path / "cache").rglob("hashes/*"))
    cached.write_text("0" * 64)
    assert kept_hash(path) == "0" * 64
    path.write_bytes(b"other")
    assert kept_hash(path) not in (first, "0" * 64)


def test_the_labs_model_is_the_same_for_the_same_seed_and_another_for_another(tmp_path: Path) -> None:
    made = [tiny_model.make(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    ids = [read_manifest("llm/x", f"file://{folder}", "models.yml").id for folder in made]
    assert ids[0] == ids[1] != ids[2]
    assert len(list(made[0].glob("*.safetensors"))) == 2
