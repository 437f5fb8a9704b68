"""Names of container images, in the parts that a registry and a list by digest know them by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

DOCKER_HUB = "docker.io"


class ImageName(NamedTuple):
    """An image's name in its parts; `REGISTRY/PATH:TAG` as text."""

    registry: str
    path: str
    tag: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}:{self.tag}"


def image_name(image: str) -> ImageName:
    """The parts of `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`, as a compose file writes it.

    What is before the first slash is a registry where it has a dot or a port in it, or is `localhost`: Docker's rule.
    """
    bare = image.partition("@")[0]
    first, _, rest = bare.partition("/")
    is_registry = bool(rest) and ("." in first or ":" in first or first == "localhost")
    registry, named = (first, rest) if is_registry else (DOCKER_HUB, bare)
    path, colon, tag = named.rpartition(":")
    path, tag = (path, tag) if colon else (named, "latest")
    official = registry == DOCKER_HUB and "/" not in path
    return ImageName(registry, f"library/{path}" if official else path, tag)


def image_names(images: Iterable[str]) -> list[str]:
    """`REGISTRY/REPOSITORY:TAG` of each image, as a mirror has to carry it; sorted."""
    return sorted({str(image_name(image)) for image in images})
