"""Sources: pickle refused, hostile safetensors headers refused, hashes computed once."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import SourceMissing, SourceRefused
from steelyard.lab.simulated import tiny_model
from steelyard.models.content.chunking import chunk_lengths, chunk_size
from steelyard.models.content.manifest import read_file, tensor_hashes
from steelyard.models.content.safetensors import HeaderWrong, TensorInfo, tensors_of
from steelyard.models.sources.resolve import cached_hashes, read_manifest, resolve_version


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def three(start: int, name: str = "a") -> dict[str, object]:
    return {name: {"dtype": "U8", "shape": [3], "data_offsets": [start, start + 3]}}


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
        (safetensors({"a": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}}, b"1234"), "leave gaps at byte 0"),
        (safetensors({**three(0), **three(2, "b")}, b"12345"), "overlap"),
        (safetensors({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, "4"]}}, b"1234"), "no offsets"),
        (safetensors({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, True]}}, b"1234"), "no offsets"),
        (safetensors({"a": {"dtype": "U8", "shape": [4], "data_offsets": [-4, 0]}}, b"1234"), "no offsets"),
        (safetensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}}, b"1234"), "ask for another number"),
        (
            safetensors({"a": {"dtype": "F32", "shape": [1 << 62, 4, 0], "data_offsets": [0, 4]}}, b"1234"),
            "ask for another",
        ),
        (safetensors({"a": {"dtype": 7, "shape": [4], "data_offsets": [0, 4]}}, b"1234"), "no type"),
        (safetensors({"a": {"dtype": "U8", "shape": 4, "data_offsets": [0, 4]}}, b"1234"), "no shape"),
        (safetensors({"a": []}, b""), "not an object"),
        (safetensors(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}'), "a name twice"),
        (safetensors(b"[" * 20_000), "not JSON"),
    ],
)
def test_hostile_header_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(HeaderWrong) as told:
        tensors_of(path)
    assert why in str(told.value)


def test_good_header_passes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(GOOD, b"1234"))
    assert [(tensor.name, tensor.end - tensor.start) for tensor in tensors_of(path)] == [("a", 4)]


def test_pickle_weights_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(SourceRefused, match=r"model\.bin` is refused: pickle weights"):
        read_manifest("llm/x", f"file://{tmp_path}", "models.yml")


def test_code_is_refused_unless_the_model_may_bring_it(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/modeling.py").write_text("import os")
    with pytest.raises(SourceRefused, match="code, which an engine may run; allow it with `code: true`"):
        read_manifest("llm/x", f"file://{tmp_path}/source", "models.yml")
    assert list(read_manifest("llm/x", f"file://{tmp_path}/source", "models.yml", code=True).files) == ["modeling.py"]


def test_missing_and_empty_sources_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("nope", "empty"):
        with pytest.raises(SourceMissing):
            read_manifest("llm/x", f"file://{tmp_path / folder}", "models.yml")


def test_hash_is_read_once_and_again_after_a_change(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    first, _ = cached_hashes(path, 1 << 16)
    cached = next((tmp_path / "cache").rglob("hashes/*"))
    cached.write_text(cached.read_text().replace(first.sha256, "0" * 64))
    assert cached_hashes(path, 1 << 16)[0].sha256 == "0" * 64
    assert cached_hashes(path, 1 << 17)[0].sha256 == first.sha256, "other cuts are other hashes"
    cached.write_text("broken")
    assert cached_hashes(path, 1 << 16)[0] == first
    path.write_bytes(b"other")
    assert cached_hashes(path, 1 << 16)[0].sha256 not in (first.sha256, "0" * 64)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda folder: [(folder / name).write_text("x") for name in ("Config.json", "config.json")],
            "differs from it by case only",
        ),
        (lambda folder: (folder / "link").symlink_to("gone"), "a broken link"),
        (lambda folder: os.mkfifo(folder / "pipe"), "neither a file nor a folder"),
        (lambda folder: (folder / os.fsdecode(b"caf\xe9.txt")).write_text("x"), "not UTF-8"),
        (lambda folder: (folder / "a\nb").write_text("x"), "cannot be printed"),
    ],
)
def test_names_that_would_not_arrive_alike_are_refused(
    tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    make(folder)
    with pytest.raises(SourceRefused) as told:
        read_manifest("llm/x", f"file://{folder}", "models.yml")
    assert why in str(told.value)
    str(told.value).encode()


def test_ten_thousand_small_files_and_empty_ones_are_a_version(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(10_000):
        (folder / f"{number}.txt").write_bytes(b"x" * (number % 3))
    manifest = read_manifest("llm/x", f"file://{folder}", "models.yml")
    assert len(manifest.files) == 10_000
    assert manifest.files["0.txt"].chunks == ()


def test_an_unchanged_tensor_is_the_same_chunks_wherever_it_lies() -> None:
    body = bytes(range(256)) * 1024

    def chunks_of(names: list[str]) -> dict[str, str]:
        header = {
            name: {"dtype": "U8", "shape": [len(body)], "data_offsets": [at * len(body), (at + 1) * len(body)]}
            for at, name in enumerate(names)
        }
        content = safetensors(header, b"".join(body if name != "new" else body[::-1] for name in names))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.safetensors"
            path.write_bytes(content)
            file, tensors = read_file(path, 1 << 16)
            assert sum(chunk.size for chunk in file.chunks) == file.size == len(content)
            assert file.sha256 == hashlib.sha256(content).hexdigest()
            return {name: entry.blake3 for name, entry in tensor_hashes(file, tensors).items()}

    before, after = chunks_of(["a", "b"]), chunks_of(["new", "a", "b"])
    assert (after["a"], after["b"]) == (before["a"], before["b"])
    assert after["new"] != after["a"]


@given(st.integers(0, 1 << 40))
def test_chunks_are_small_where_versions_are(size: int) -> None:
    chunk = chunk_size(size)
    assert 64 << 10 <= chunk <= 4 << 20
    assert chunk == 4 << 20 or size / chunk <= 2048


@given(st.lists(st.integers(0, 300), max_size=6), st.integers(0, 40), st.integers(0, 50), st.integers(1, 64))
def test_cuts_add_up_and_never_span_two_tensors(sizes: list[int], header: int, rest: int, chunk: int) -> None:
    tensors, at = [], header
    for number, size in enumerate(sizes):
        tensors.append(TensorInfo(str(number), "U8", (size,), at, at + size))
        at += size
    lengths = chunk_lengths(at + (0 if tensors else rest), tensors, chunk)
    edges = {0, *itertools.accumulate(lengths)}
    assert sum(lengths) == at + (0 if tensors else rest)
    assert all(0 < length <= chunk for length in lengths)
    assert all({tensor.start, tensor.end} <= edges for tensor in tensors)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_a_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        path.write_bytes(content)
        try:
            tensors_of(path)
        except HeaderWrong as told:
            assert str(told)


def test_the_labs_model_is_the_same_for_the_same_seed_and_another_for_another(tmp_path: Path) -> None:
    made = [tiny_model.make(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    ids = [read_manifest("llm/x", f"file://{folder}", "models.yml").id for folder in made]
    assert ids[0] == ids[1] != ids[2]
    assert len(list(made[0].glob("*.safetensors"))) == 2


def test_how_far_the_reading_is_is_told_up_to_the_end_also_where_nothing_has_to_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "a.safetensors").write_bytes(safetensors(GOOD, b"1234"))
    total = sum(path.stat().st_size for path in folder.iterdir())
    heard: list[tuple[int, int]] = []
    for _ in range(2):  # read, then from what was kept
        heard.clear()
        resolve_version(
            "llm/x", f"file://{folder}", "models.yml", on_progress=lambda done, whole: heard.append((done, whole))
        )
        assert heard == sorted(heard)
        assert heard[-1] == (total, total)
