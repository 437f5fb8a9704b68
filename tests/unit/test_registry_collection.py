"""The choice of what a collection of a registry removes: nothing that a tag leads to, on any platform."""

from __future__ import annotations

import os
import shutil
import time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest
from support.oci_image import MadeImage, make_image

SCRIPT = Path(__file__).parents[2] / "roles/registry_mirror/files/registry-gc"
OLD = time.time() - 3 * 24 * 3600


def collector() -> Any:
    loader = SourceFileLoader("registry_gc", str(SCRIPT))
    spec = spec_from_loader("registry_gc", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


GC = collector()


class Kept:
    """The files of a registry as Debian's docker-registry lays them out."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "docker/registry/v2"
        self.store = GC.Store(folder)

    def push(self, repository: str, seed: str, tag: str | None, age: float = OLD) -> MadeImage:
        """An image for two platforms, pushed as skopeo does: its platforms by digest, then itself by tag or digest."""
        layout = self.folder / f"layout-{seed}"
        made = make_image(layout, seed)
        for blob in (layout / "blobs/sha256").iterdir():
            target = self.root / "blobs/sha256" / blob.name[:2] / blob.name / "data"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(blob, target)
        at = self.root / "repositories" / repository
        for digest in (made.digest, *made.platforms.values()):
            self._link(at / "_manifests/revisions/sha256" / digest[7:], digest, age)
        for blob in (layout / "blobs/sha256").iterdir():
            self._link(at / "_layers/sha256" / blob.name, f"sha256:{blob.name}", age)
        if tag is not None:
            self._link(at / f"_manifests/tags/{tag}/current", made.digest, age)
        return made

    def _link(self, folder: Path, digest: str, age: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "link").write_text(digest)
        os.utime(folder / "link", (age, age))

    def go(self) -> set[str]:
        return set(GC.to_go(self.store, time.time()))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_what_a_tag_leads_to_stays_on_every_platform(kept: Kept) -> None:
    kept.push("library/redis", "a", "7")
    assert kept.go() == set()


def test_an_image_whose_tag_moved_on_goes_with_its_platforms(kept: Kept) -> None:
    before = kept.push("library/redis", "a", "7")
    kept.push("library/redis", "b", "7")
    assert kept.go() == {f"library/redis@{digest}" for digest in (before.digest, *before.platforms.values())}


def test_a_repository_without_a_tag_ends_nothing_for_the_others(kept: Kept) -> None:
    untagged = kept.push("team/untagged", "a", None)
    kept.push("library/redis", "b", "7")
    assert kept.go() == {f"team/untagged@{digest}" for digest in (untagged.digest, *untagged.platforms.values())}


def test_a_platform_that_two_images_have_stays_with_the_one_that_stays(kept: Kept) -> None:
    before = kept.push("library/redis", "a", "6")
    after = kept.push("library/redis", "b", "7")
    shared = {"schemaVersion": 2, "manifests": [{"digest": before.platforms["arm64"], "size": 1}]}
    kept.store.blob(after.digest).write_text(GC.json.dumps(shared))
    shutil.rmtree(kept.root / "repositories/library/redis/_manifests/tags/6")
    gone = kept.go()
    assert f"library/redis@{before.platforms['arm64']}" not in gone
    assert f"library/redis@{before.platforms['amd64']}" in gone


def test_a_signature_stays_with_what_it_is_about(kept: Kept) -> None:
    made = kept.push("library/redis", "a", "7")
    signature = kept.push("library/redis", "b", None)
    about = {"schemaVersion": 2, "subject": {"digest": made.platforms["amd64"], "size": 1}, "layers": []}
    kept.store.blob(signature.digest).write_text(GC.json.dumps(about))
    assert f"library/redis@{signature.digest}" not in kept.go()


def test_what_is_pushed_in_this_moment_has_no_tag_yet_and_stays(kept: Kept) -> None:
    kept.push("library/redis", "a", None, age=time.time())
    assert kept.go() == set()
    assert kept.store.pushing(time.time() - GC.PUSHED_S) == "library/redis"
    assert kept.store.pushing(time.time() + 1) is None


def test_a_repository_with_a_manifest_that_cannot_be_read_stays_whole(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.push("library/redis", "a", "7")
    torn = kept.push("library/redis", "b", "7")
    kept.store.blob(torn.digest).write_text("{")
    kept.push("team/other", "c", None)
    assert {image.split("@")[0] for image in kept.go()} == {"team/other"}
    assert "library/redis stays as it is: manifest" in capsys.readouterr().out


def test_what_is_no_longer_whole_afterwards_is_named(kept: Kept) -> None:
    made = kept.push("library/redis", "a", "7")
    before = GC.wholes(kept.store)
    assert len(before) == 3
    document = kept.store.document(made.platforms["arm64"])
    kept.store.blob(document["layers"][0]["digest"]).unlink()
    lost = GC.lost(kept.store, before, None)
    assert lost == [f"library/redis@{made.platforms['arm64']}: a layer is gone"]
