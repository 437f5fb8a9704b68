"""The images that Weaviate's volume passes through in an upgrade: as they are declared, from the mirror where there is
one.
"""

from __future__ import annotations

import json
from pathlib import Path

from steelyard.artifacts.images import PinnedImage, read_images
from steelyard.dify.image_name import image_name
from steelyard.errors import DifyImagesMissing
from steelyard.roles.registry_mirror.settings import Settings as MirrorSettings
from steelyard.site.site import Site
from steelyard_host.wire.codec import to_json
from steelyard_host.wire.dify import VectorImage, VectorImages

from .images import registry_of
from .settings import Release


def steps_text(release: Release, site: Site, mirror: MirrorSettings) -> str:
    """The file that tells the host of them. Raises DifyImagesMissing where the list by digest lacks one."""
    listed = {} if release.images is None else _listed(Path(release.images).expanduser())
    images, missing = [], []
    for image in release.weaviate_steps:
        name = image_name(image)
        pinned = listed.get((name.path, name.tag))
        if pinned is not None:
            reference = f"{registry_of(pinned, site, mirror)}/{pinned.path}@{pinned.digest}"
        elif release.images is None or "@" in image:
            reference = image
        else:
            missing.append(image)
            continue
        images.append(VectorImage(".".join(name.tag.split(".")[:3]), reference))
    if missing:
        raise DifyImagesMissing(where=str(release.images), images=", ".join(sorted(missing)))
    return json.dumps(to_json(VectorImages(tuple(images))), indent=1) + "\n"


def _listed(path: Path) -> dict[tuple[str, str], PinnedImage]:
    return {(image.path, image.tag): image for image in read_images(path)}
