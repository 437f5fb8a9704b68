"""The store on a host: what its answers say, what is removed, and what stays. Transfers: test_push.py."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

import pytest

from steelyard.models.content.manifest import Manifest
from steelyard.models.sources.resolve import read_manifest
from steelyard_host.errors import HelperError
from steelyard_host.store import garbage, layout
from steelyard_host.store import publish as store
from steelyard_host.store.layout import ManifestDocument
from steelyard_host.store.staging import Staging
from steelyard_host.store.verify import verify


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def publish(root: Path, version: str = "v1", **files: bytes) -> Manifest:
    """A version of these files, through the same steps that a push takes."""
    folder = root.parent / f"source-{version}"
    folder.mkdir()
    for name, content in (files or {"config_json": b"{}", "a_txt": b"A" * 5000}).items():
        (folder / name.replace("_", ".")).write_bytes(content)
    manifest = read_manifest("llm/x", f"file://{folder}", "models.yml")
    with store.receiving(root, "llm/x", version) as staged:
        staging = Staging(staged, ManifestDocument(manifest.as_json()))
        staging.prepare(layout.held_files(root), layout.held_chunks(root))
        for chunk in staging.chunks:
            assert staging.take(chunk.number, (folder / chunk.file).read_bytes()[chunk.offset :][: chunk.size])
        staging.sync()
        staging.close()
        store.publish(root, "llm/x", version, ManifestDocument(manifest.as_json()), staged)
    return manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def test_version_is_published_whole_and_read_only(root: Path) -> None:
    manifest = publish(root)
    state = store.state(root, "llm/x", "v1")
    assert (state.published, state.altered, state.staged_bytes) == (manifest.id, (), 0)
    assert list(state.held) == sorted(file.blake3 for file in manifest.files.values())
    assert oct((root / "llm/x/v1/a.txt").stat().st_mode & 0o777) == "0o444"


def test_a_chunk_with_another_hash_is_not_taken(root: Path, tmp_path: Path) -> None:
    manifest = publish(root)
    staging = Staging(tmp_path / "staged", ManifestDocument(manifest.as_json()))
    staging.prepare({}, {})
    assert not staging.take(0, b"B" * staging.chunks[0].size)
    assert not staging.take(0, b"")
    assert staging.missing() == ((0, 1),)


def test_a_file_that_cannot_be_linked_is_copied_chunk_by_chunk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_many(*_: object) -> None:
        raise OSError(errno.EMLINK, "Too many links")

    publish(root)
    monkeypatch.setattr(os, "link", too_many)
    publish(root, "v2")
    paths = [root / "llm/x" / version / "a.txt" for version in ("v1", "v2")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert not paths[0].samefile(paths[1])
    assert verify(root, "llm/x", "v2", quarantine=False).wrong == {}


def test_file_changed_or_added_by_hand_is_seen(root: Path) -> None:
    publish(root)
    altered = root / "llm/x/v1/a.txt"
    altered.chmod(0o644)
    altered.write_bytes(b"C" * 5000)
    (root / "llm/x/v1/extra.py").write_text("x")
    (root / "llm/x/v1/link").symlink_to("/etc/passwd")
    state = store.state(root, "llm/x", "v1")
    assert state.altered == ("a.txt", "extra.py", "link")
    assert len(state.held) == 1, "what was changed is not held"


def test_folder_that_steelyard_did_not_publish_is_told_apart(root: Path) -> None:
    (root / "llm/x/v1").mkdir(parents=True)
    assert store.state(root, "llm/x", "v1").unrecorded is True


def test_a_store_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(HelperError, match="nothing was published"),
        store.receiving(tmp_path / "file", "llm/x", "v1"),
    ):
        pass


def test_what_is_current_or_in_use_is_never_removed(root: Path) -> None:
    for number in (1, 2, 3):
        publish(root, f"v{number}", a_txt=bytes([number]) * 9000, b_txt=b"same")
    (root / "llm/x/current").symlink_to("v3")
    with (root / "llm/x/v2/a.txt").open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
    words = [f"llm/x@v{number}" for number in (1, 2, 3, 4)]
    stays = list(garbage.remove(root, words).stays)
    me = f"{Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})"
    assert stays == [f"llm/x@v2 is in use by {me}", "llm/x@v3 is current", "llm/x@v4 is not published here"]
    assert sorted(path.name for path in (root / "llm/x").iterdir()) == ["current", "v2", "v3"]
    mapped.close()
    assert garbage.remove(root, ["llm/x@v2"]).stays == ()
    assert (root / "llm/x/v3/b.txt").read_bytes() == b"same", "a file that versions share stays for the others"
    assert len(list((root / ".steelyard/manifests").iterdir())) == 1
    assert list((root / ".steelyard/removed").iterdir()) == []


def test_the_listing_says_what_a_version_alone_takes(root: Path) -> None:
    publish(root, "v1", a_txt=b"x" * 8192, b_txt=b"y" * 8192)
    publish(root, "v2", a_txt=b"x" * 8192, b_txt=b"z" * 4096)
    rows = {row.version: row for row in garbage.inventory(root).versions}
    assert (rows["v1"].bytes, rows["v1"].own_bytes) == (16384, 8192)
    assert (rows["v2"].bytes, rows["v2"].own_bytes) == (12288, 4096)
    assert not rows["v1"].in_use and not rows["v1"].current
