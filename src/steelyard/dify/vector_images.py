"""Images of Weaviate by their names: the ones that its volume passes through in an upgrade of Dify."""

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
    """The parts of `[REGISTRY/]REPOSITORY:TAG[@DIGEST]`."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    first, _, rest = name.partition("/")
    is_registry = bool(rest) and ("." in first or ":" in first or first == "localhost")
    return ImageName(first, rest, tag) if is_registry else ImageName(DOCKER_HUB, name, tag)


def step_names(images: Iterable[str]) -> list[str]:
    """`REGISTRY/REPOSITORY:TAG` of each image, as a mirror has to carry it."""
    return sorted({str(image_name(image)) for image in images})
