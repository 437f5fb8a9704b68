"""The store on a host: verified before visible, corruption named, nothing half-written, equal files shared."""

from __future__ import annotations

import errno
import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from steelyard.source import Manifest, read_manifest
from steelyard_host import store


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def source(tmp_path: Path, name: str = "src", **files: bytes) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    for file, content in (files or {"config.json": b"{}", "a.txt": b"A" * 5000}).items():
        (folder / file.replace("_", ".")).write_bytes(content)
    return folder


def stream_of(
    folder: Path, manifest: Manifest, send: list[str] | None = None, content: dict[str, bytes] | None = None
) -> io.BytesIO:
    names = list(manifest.files) if send is None else send
    header = json.dumps({"manifest": {"id": manifest.id, "files": manifest.files}, "send": names}).encode()
    bodies = [(content or {}).get(name, (folder / name).read_bytes()) for name in names]
    return io.BytesIO(struct.pack(">Q", len(header)) + header + b"".join(bodies))


def publish(root: Path, folder: Path, version: str = "v1", **more: Any) -> Manifest:
    manifest = read_manifest("llm/x", f"file://{folder}", "models.yml")
    store.receive(root, "llm/x", version, stream_of(folder, manifest, **more))
    return manifest


def test_version_is_published_whole_and_read_only(tmp_path: Path) -> None:
    manifest = publish(tmp_path / "root", source(tmp_path))
    state = store.state(tmp_path / "root", "llm/x", "v1")
    assert (state["published"], state["altered"], state["staged"]) == (manifest.id, [], [])
    assert oct((tmp_path / "root/llm/x/v1/a.txt").stat().st_mode & 0o777) == "0o444"


def test_corrupted_file_is_named_and_nothing_is_visible(tmp_path: Path) -> None:
    folder = source(tmp_path)
    with pytest.raises(store.StoreError, match=r"file a\.txt is corrupted"):
        publish(tmp_path / "root", folder, content={"a.txt": b"B" * 5000})
    assert not (tmp_path / "root/llm/x").exists()


def test_short_stream_publishes_nothing_and_keeps_whole_files(tmp_path: Path) -> None:
    folder = source(tmp_path)
    manifest = read_manifest("llm/x", f"file://{folder}", "models.yml")
    whole = stream_of(folder, manifest, send=["config.json", "a.txt"]).getvalue()
    with pytest.raises(store.StoreError, match="the link ended early"):
        store.receive(tmp_path / "root", "llm/x", "v1", io.BytesIO(whole[:-10]))
    assert store.state(tmp_path / "root", "llm/x", "v1")["staged"] == ["config.json"]
    assert not (tmp_path / "root/llm/x").exists()


def test_full_disk_gives_the_space_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(store.StoreError, match="the disk is full"):
        publish(tmp_path / "root", source(tmp_path))
    monkeypatch.undo()
    assert [path for path in (tmp_path / "root").rglob("*") if path.is_file()] == []


def test_equal_files_of_two_versions_are_one_file_and_are_not_sent(tmp_path: Path) -> None:
    publish(tmp_path / "root", source(tmp_path))
    second = source(tmp_path, "second", config_json=b"{}", a_txt=b"other")
    publish(tmp_path / "root", second, "v2", send=["a.txt"])
    first, shared = tmp_path / "root/llm/x/v1/config.json", tmp_path / "root/llm/x/v2/config.json"
    assert first.stat().st_ino == shared.stat().st_ino


def test_change_by_hand_is_seen_and_repaired_with_one_file(tmp_path: Path) -> None:
    folder = source(tmp_path)
    manifest = publish(tmp_path / "root", folder)
    altered = tmp_path / "root/llm/x/v1/a.txt"
    altered.chmod(0o644)
    altered.write_bytes(b"C" * 5000)
    assert store.state(tmp_path / "root", "llm/x", "v1")["altered"] == ["a.txt"]
    assert manifest.files["a.txt"]["sha256"] not in store.state(tmp_path / "root", "llm/x", "v1")["held"]
    publish(tmp_path / "root", folder, send=["a.txt"])
    assert altered.read_bytes() == b"A" * 5000
    assert store.state(tmp_path / "root", "llm/x", "v1")["altered"] == []


def test_file_added_by_hand_is_seen(tmp_path: Path) -> None:
    publish(tmp_path / "root", source(tmp_path))
    (tmp_path / "root/llm/x/v1/extra.py").write_text("x")
    assert store.state(tmp_path / "root", "llm/x", "v1")["altered"] == ["extra.py"]


def test_folder_that_steelyard_did_not_publish_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "root/llm/x/v1").mkdir(parents=True)
    assert store.state(tmp_path / "root", "llm/x", "v1")["unrecorded"] is True
