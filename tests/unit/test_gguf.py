"""The head of a GGUF file: what it says is what fit is told, and a damaged one says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import tiny_gguf

from steelyard.lab.simulated import tiny_model as tiny
from steelyard.models.content import gguf
from steelyard.models.fit.gpu_memory import ServingProfile, memory_fit
from steelyard.models.fit.kv_cache import KvCacheGroup


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.make(tmp_path_factory.mktemp("gguf"), 1) / "tiny.gguf"


def test_a_file_that_llama_cpp_s_own_writer_made_is_read(file: Path) -> None:
    found = gguf.memory_footprint({"tiny.gguf": file})
    assert found is not None
    assert (found.layers, found.heads, found.width, found.inner) == (
        tiny.LAYERS,
        tiny.HEADS,
        tiny.HIDDEN,
        tiny.INTERMEDIATE,
    )
    assert (found.context, found.vocabulary) == (2048, tiny.VOCABULARY)
    assert found.weights_bytes == file.stat().st_size
    # keys and values of each key-value head
    assert found.kv_cache == (KvCacheGroup("full", 2, 2 * 2 * 64, 2),)
    told = memory_fit(found, ServingProfile(context=1024), 80 << 30)
    assert (told.verdict, told.request_bytes) == ("fits", 1024 * 2 * 256 * 2)


def test_parts_count_together_and_a_later_one_is_no_model(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "x-00002-of-00002.gguf"
    other.write_bytes(b"x" * 1000)
    found = gguf.memory_footprint({"x-00001-of-00002.gguf": file, "x-00002-of-00002.gguf": other})
    assert found is not None
    assert found.weights_bytes == file.stat().st_size + 1000
    assert gguf.memory_footprint({"x-00002-of-00002.gguf": other}) is None
    assert gguf.memory_footprint({"model.safetensors": file}) is None


def test_layers_that_keep_something_else_are_unknown() -> None:
    said = {"general.architecture": "mamba", "mamba.block_count": 4, "mamba.ssm.state_size": 16}
    assert gguf._footprint(said, 1).kv_cache is None


def test_heads_that_differ_by_layer_are_groups() -> None:
    said = {
        "general.architecture": "x",
        "x.block_count": 3,
        "x.attention.head_count": 8,
        "x.embedding_length": 64,
        "x.attention.head_count_kv": [2, 0, 2],
    }
    assert gguf._footprint(said, 1).kv_cache == (KvCacheGroup("full", 2, 32, 2),)


@pytest.mark.parametrize("cut", [0, 3, 8, 20, 100, 400])
def test_a_damaged_head_says_nothing(file: Path, tmp_path: Path, cut: int) -> None:
    damaged = tmp_path / "tiny.gguf"
    damaged.write_bytes(file.read_bytes()[:cut])
    assert gguf.memory_footprint({"tiny.gguf": damaged}) is None
    damaged.write_bytes(file.read_bytes()[:cut] + b"\xff" * 400)
    assert gguf.memory_footprint({"tiny.gguf": damaged}) is None
