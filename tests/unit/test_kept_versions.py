"""What stays on a host and why: leases, `previous`, what lies on a NAS; and how two versions differ."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_store import publish

from steelyard.models import retention
from steelyard.models.content.diff import diff_of
from steelyard.models.content.manifest import Manifest
from steelyard.models.sources.resolve import read_manifest
from steelyard.render.progress import Streams
from steelyard_host.errors import HelperError
from steelyard_host.store import adopt, garbage, layout, leases
from steelyard_host.store import publish as store
from steelyard_host.store.layout import ManifestDocument
from steelyard_host.store.staging import Staging, clone_file, copy_file
from steelyard_host.store.verify import verify
from steelyard_host.wire.store import VersionLeases


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def test_current_and_previous_follow_each_other_and_both_stay(root: Path) -> None:
    for number in (1, 2, 3):
        publish(root, f"v{number}", a_txt=bytes([number]) * 9000)
    assert store.switch(root, "llm/x", "v1") == ("v1", None)
    assert store.switch(root, "llm/x", "v2") == ("v2", "v1")
    assert store.switch(root, "llm/x", "v2") == ("v2", "v1")
    store.replace_link(root / "llm/x/current", "nowhere")  # by hand: no version to go back to
    assert store.switch(root, "llm/x", "v2") == ("v2", "v1")
    with pytest.raises(HelperError, match="v9 is not published here; `current` stays"):
        store.switch(root, "llm/x", "v9")
    rows = {row.version: row for row in garbage.inventory(root).versions}
    assert [(rows[f"v{number}"].current, rows[f"v{number}"].previous) for number in (1, 2, 3)] == [
        (False, True),
        (True, False),
        (False, False),
    ]
    listed = list(rows.values())
    assert retention.removable(listed, {}, None, keep=0) == (["llm/x@v3"], [])
    assert retention.removable(listed, {"llm/x": "v2"}, ("llm/x", "v1"), keep=0) == (
        [],
        ["llm/x@v1 is previous"],
    )


def test_a_leased_version_stays_until_it_is_released_or_the_lease_is_over(root: Path) -> None:
    publish(root)
    leases.take(root, "llm/x", "v1", "rollout of ops@ctl", 60, "it may be rolled back to")
    leases.take(root, "llm/x", "v1", "audit", -1, "over at once")
    assert [lease.who for lease in leases.of(root, "llm/x", "v1")] == ["rollout of ops@ctl"]
    assert leases.of(root, "llm/x", "v1", now=time.time() + 61) == ()
    assert garbage.remove(root, ["llm/x@v1"]).stays == ("llm/x@v1 is kept by rollout of ops@ctl",)
    assert retention.removable(garbage.inventory(root).versions, {}, None, 0) == ([], [])
    assert leases.release(root, "llm/x", "v1", "rollout of ops@ctl") == VersionLeases(())
    assert garbage.remove(root, ["llm/x@v1"]).stays == ()
    with pytest.raises(HelperError, match="not published here"):
        leases.take(root, "llm/x", "v1", "x", 60, "x")


def test_what_was_half_received_a_day_ago_goes_and_what_is_being_received_stays(root: Path) -> None:
    old, now, fresh = (root / ".steelyard/staging" / name for name in ("llm%2Fx@old", "llm%2Fx@now", "llm%2Fx@fresh"))
    for folder in (old, now, fresh):
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(b"x")
    before = time.time() - 2 * garbage.STALE_S
    for folder in (old, now):
        os.utime(folder / "part", (before, before))
        os.utime(folder, (before, before))
    (root / ".steelyard/removed/x").mkdir(parents=True)
    with store.receiving(root, "llm/x", "now"):
        assert garbage.remove_stale_staging(root).gone == ("llm%2Fx@old",)
    assert (old.exists(), now.exists(), fresh.exists(), (root / ".steelyard/removed").exists()) == (
        False,
        True,
        True,
        False,
    )


def test_a_manifest_changed_on_the_host_is_noticed(root: Path) -> None:
    manifest = publish(root)
    path = root / ".steelyard/manifests" / f"{manifest.id}.json"
    found = json.loads(path.read_text())
    found["files"]["a.txt"]["chunks"][0][1] = "0" * 64
    path.write_text(json.dumps(found))
    assert verify(root, "llm/x", "v1", quarantine=False).wrong == {layout.MANIFEST: (0,)}
    assert store.state(root, "llm/x", "v1").altered == ()
    # out of sight, it makes the version one that a push mends, and nothing of it is sent again
    verify(root, "llm/x", "v1", quarantine=True)
    assert store.state(root, "llm/x", "v1").altered == (layout.MANIFEST,)
    with store.receiving(root, "llm/x", "v1") as staged:
        staging = Staging(staged, ManifestDocument(manifest.as_json()))
        assert staging.prepare(layout.held_files(root), layout.held_chunks(root)) == manifest.size
        store.publish(root, "llm/x", "v1", ManifestDocument(manifest.as_json()), staged)
    assert verify(root, "llm/x", "v1", quarantine=False).wrong == {}
    assert verify(root, "llm/x", "v9", quarantine=False).id is None


# On a NAS


def nas(tmp_path: Path) -> tuple[Path, Manifest]:
    folder = tmp_path / "nas"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "a.txt").write_bytes(b"A" * 70_000)
    (folder / "of somebody else").write_text("not of the version")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("config.json", "a.txt"):
        (source / name).write_bytes((folder / name).read_bytes())
    return folder, read_manifest("llm/x", f"file://{source}", "x")


def test_a_version_on_a_nas_is_compared_and_used_in_place(root: Path, tmp_path: Path) -> None:
    folder, manifest = nas(tmp_path)
    adopt.adopt(root, "llm/x", "v1", folder, ManifestDocument(manifest.as_json()))
    assert (root / "llm/x/v1").readlink() == folder
    state = store.state(root, "llm/x", "v1")
    assert (state.published, state.altered) == (manifest.id, ())
    assert verify(root, "llm/x", "v1", quarantine=True).wrong == {}
    [row] = garbage.inventory(root).versions
    assert (row.shared, row.own_bytes) == (str(folder), 0)
    (folder / "a.txt").write_bytes(b"B" * 70_000)
    assert store.state(root, "llm/x", "v1").altered == ("a.txt",)
    with pytest.raises(HelperError, match="which is not ours to mend"):
        verify(root, "llm/x", "v1", quarantine=True)
    assert garbage.remove(root, ["llm/x@v1"]).stays == ()
    assert (folder / "a.txt").exists(), "what lies on a NAS is not ours"
    assert not (root / "llm/x/v1").exists()


def test_other_bytes_on_the_nas_are_not_published(root: Path, tmp_path: Path) -> None:
    folder, manifest = nas(tmp_path)
    (folder / "a.txt").write_bytes(b"A" * 69_999 + b"B")
    with pytest.raises(HelperError, match=r"a\.txt is other than at the source; nothing was published"):
        adopt.adopt(root, "llm/x", "v1", folder, ManifestDocument(manifest.as_json()))
    (folder / "a.txt").unlink()
    with pytest.raises(HelperError, match=r"a\.txt is not there"):
        adopt.adopt(root, "llm/x", "v1", folder, ManifestDocument(manifest.as_json()))
    with pytest.raises(HelperError, match="is the NAS mounted"):
        adopt.adopt(root, "llm/x", "v1", tmp_path / "none", ManifestDocument(manifest.as_json()))
    assert not (root / "llm/x").exists() or list((root / "llm/x").iterdir()) == []


# Clones


@pytest.fixture
def xfs(tmp_path: Path) -> object:
    """A file system that clones; needs root and xfsprogs, as the lab does."""
    image, folder = tmp_path / "image", tmp_path / "xfs"
    image.touch()
    os.truncate(image, 400 << 20)
    folder.mkdir()
    subprocess.run(["mkfs.xfs", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.lab
def test_where_no_link_can_be_made_a_clone_takes_no_room(xfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_many(*_: object) -> None:
        raise OSError(errno.EMLINK, "Too many links")

    root, body = xfs / "root", os.urandom(32 << 20)
    publish(root, a_txt=body)
    monkeypatch.setattr(os, "link", too_many)
    subprocess.run(["sync", "-f", xfs], check=True)
    before = os.statvfs(xfs).f_bavail * os.statvfs(xfs).f_frsize
    publish(root, "v2", a_txt=body, b_txt=b"x")
    subprocess.run(["sync", "-f", xfs], check=True)
    taken = before - os.statvfs(xfs).f_bavail * os.statvfs(xfs).f_frsize
    assert not (root / "llm/x/v1/a.txt").samefile(root / "llm/x/v2/a.txt")
    assert (root / "llm/x/v2/a.txt").read_bytes() == body
    assert taken < 1.5 * len(body), "its source lies there too, and nothing else"


def test_where_clones_are_unknown_a_copy_is_made(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    if clone_file(tmp_path / "a", tmp_path / "b"):
        (tmp_path / "b").unlink()
    copy_file(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"a"


# Differences


def source(folder: Path, tensors: dict[str, tuple[str, list[int], bytes]], **files: str) -> Manifest:
    folder.mkdir()
    header, at = {}, 0
    for name, (dtype, shape, body) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(body)]}
        at += len(body)
    text = json.dumps(header).encode()
    bodies = b"".join(body for _, _, body in tensors.values())
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bodies)
    for name, content in {"config": "{}", **files}.items():
        (folder / f"{name}.json").write_text(content)
    return read_manifest("llm/x", f"file://{folder}", "x")


def test_two_versions_differ_by_tensor_and_file(tmp_path: Path) -> None:
    big = 1 << 20
    common = ("U8", [big], b"c" * big)
    one = source(
        tmp_path / "1",
        {"same": common, "moved": ("U8", [big], b"m" * big), "old": ("U8", [2], b"oo"), "kind": ("U8", [2], b"kk")},
    )
    two = source(
        tmp_path / "2",
        {"new": ("U8", [2], b"nn"), "same": common, "moved": ("U8", [big], b"M" * big), "kind": ("I16", [1], b"kk")},
        config="[]",
    )
    found = diff_of(one, two)
    assert (found.equal, found.changed, found.reshaped, found.added, found.removed) == (
        1,
        ["moved"],
        ["kind"],
        ["new"],
        ["old"],
    )
    assert (found.files_changed, found.in_place) == (["config.json"], False)
    assert big <= found.send_bytes <= big + 1000
    assert Manifest.of_json(json.loads(json.dumps(two.as_json()))) == two
    same = diff_of(one, one)
    assert (same.send_bytes, same.changed, same.in_place) == (0, [], True)


# What is told of many streams


def test_many_streams_are_one_line_and_those_behind() -> None:
    streams, names = Streams(), [f"h{number}" for number in range(10)]
    for number, name in enumerate(names):
        streams.moved(name, "weights", 0, 100_000_000, now=0.0)
        streams.moved(name, "weights", number * 10_000_000 + 10_000_000, 100_000_000, now=1.0)
    assert streams.words(names, 1.0) == "weights: 1 of 10 hosts whole, 0.55 of 1 GB, 550 MB/s, 9 s left"
    lines = streams.behind(names, 1.0)
    assert lines[0] == "h0: weights 10 of 100 MB, 10 MB/s, 9 s left"
    assert len(lines) == 7 and lines[-1] == "and 3 hosts more"
    streams.moved("h", "weights", 5, 10, now=0.0)
    assert streams.words(["h"], 0.0) == "weights 5 of 10 B"


def test_the_helper_keeps_shows_and_sends_a_version(root: Path) -> None:
    publish(root)

    def helper(*words: str) -> bytes:
        return subprocess.run([sys.executable, "-m", "steelyard_host", *words], capture_output=True, check=True).stdout

    at = (str(root), "llm/x", "v1")
    assert json.loads(helper("store-lease", *at, "me", "60", "because"))["who"] == "me"
    assert json.loads(helper("store-list", str(root)))["versions"][0]["leases"][0]["why"] == "because"
    assert json.loads(helper("store-release", *at, "me")) == {"leases": []}
    assert json.loads(helper("store-manifest", *at))["files"]["a.txt"]["size"] == 5000
    assert json.loads(helper("store-manifest", str(root), "llm/x", "v9")) == {}
    assert helper("store-send", *at) == b"".join(
        (root / "llm/x/v1" / name).read_bytes() for name in ("a.txt", "config.json")
    )
    assert json.loads(helper("store-switch", *at)) == {"current": "v1", "previous": None}
    assert json.loads(helper("store-tidy", str(root))) == {"gone": []}
