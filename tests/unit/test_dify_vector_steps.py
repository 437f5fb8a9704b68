"""Images on the way of Weaviate's volume: declared by release, from the mirror by digest, told to who fills it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from steelyard.dify.image_name import image_names
from steelyard.errors import DifyImagesMissing
from steelyard.roles.dify.settings import Release
from steelyard.roles.dify.vector_steps import steps_text
from steelyard.roles.registry_mirror.settings import Settings as MirrorSettings
from steelyard.site.site import Site

SITE = Site("/models", {}, (), {}, {"m": "10.0.0.9"}, {"mirror": ("m",)})
MIRROR = MirrorSettings.model_validate({"registries": {"pushed": {"port": 5000}}})
DIGEST = "sha256:" + "a" * 64
FIRST, SECOND = "cr.weaviate.io/semitechnologies/weaviate:1.28.16", "semitechnologies/weaviate:1.29.11"


def release(*steps: str, images: Path | None = None) -> Release:
    said: dict[str, Any] = {"version": "1.17.1", "archive": "/a.tar.gz", "sha256": "0" * 64, "weaviate_steps": steps}
    return Release.model_validate({**said, "images": None if images is None else str(images)})


def told(declared: Release) -> list[dict[str, str]]:
    images: list[dict[str, str]] = json.loads(steps_text(declared, SITE, MIRROR))["images"]
    return images


def test_images_are_told_with_their_registries_to_whoever_fills_a_mirror() -> None:
    by_digest = f"{FIRST}@{DIGEST}"
    assert image_names([SECOND, by_digest, "10.0.0.1:5000/w:1.30.2"]) == [
        "10.0.0.1:5000/w:1.30.2",
        FIRST,
        f"docker.io/{SECOND}",
    ]


def test_without_a_list_by_digest_the_host_gets_them_as_they_are_declared() -> None:
    assert told(release()) == []
    assert told(release(FIRST, SECOND)) == [
        {"version": "1.28.16", "image": FIRST},
        {"version": "1.29.11", "image": SECOND},
    ]


def test_with_a_list_they_come_by_digest_from_the_mirror_and_one_that_is_not_in_it_is_refused(tmp_path: Path) -> None:
    listed = tmp_path / "images.yml"
    listed.write_text(f"- {FIRST}@{DIGEST}\n")
    pinned = {"version": "1.28.16", "image": f"10.0.0.9:5000/semitechnologies/weaviate@{DIGEST}"}
    assert told(release(FIRST, images=listed)) == [pinned]
    of_its_own = f"{SECOND}@{DIGEST}"
    assert told(release(FIRST, of_its_own, images=listed)) == [pinned, {"version": "1.29.11", "image": of_its_own}]
    with pytest.raises(DifyImagesMissing, match=SECOND):
        told(release(FIRST, SECOND, images=listed))


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        (("semitechnologies/weaviate",), "should match pattern"),
        (("semitechnologies/weaviate:latest",), "should match pattern"),
        (("semitechnologies/weaviate:1.28",), "should match pattern"),
        (("weaviate:1.28.16\n",), "should match pattern"),
        (("--rm/weaviate:1.28.16 x",), "should match pattern"),
        (("w:1.28.16", "w:1.28.15"), "one image in `weaviate_steps` for 1.28, not several"),
    ],
)
def test_a_name_that_tells_no_release_or_a_second_one_of_it_is_refused(steps: tuple[str, ...], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        release(*steps)
