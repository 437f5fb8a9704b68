"""The images that Weaviate's volume passes through in an upgrade: as they are declared, from the mirror where there is
one.
"""

from __future__ import annotations

import json

from steelyard.dify.image_name import image_name
from steelyard.errors import DifyImagesMissing
from steelyard.roles.registry_mirror.settings import Settings as MirrorSettings
from steelyard.site.site import Site
from steelyard_host.wire.codec import to_json
from steelyard_host.wire.dify import VectorImage, VectorImages

from .images import listed_images, pinned_reference
from .settings import Release


def steps_text(release: Release, site: Site, mirror: MirrorSettings) -> str:
    """The file that tells the host of them. Raises DifyImagesMissing where the list by digest lacks one."""
    listed = listed_images(release)
    images, missing = [], []
    for image in release.weaviate_steps:
        name = image_name(image)
        reference = pinned_reference(name, listed, site, mirror)
        if reference is None and release.images is not None and "@" not in image:
            missing.append(image)
            continue
        images.append(VectorImage(".".join(name.tag.split(".")[:3]), reference or image))
    if missing:
        raise DifyImagesMissing(where=str(release.images), images=", ".join(sorted(missing)))
    return json.dumps(to_json(VectorImages(tuple(images))), indent=1) + "\n"
