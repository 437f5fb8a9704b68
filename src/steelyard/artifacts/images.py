"""A list of container images by digest: what `mirror images sync` carries into a registry of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from steelyard.api.file_syntax import read_yaml_nodes
from steelyard.errors import ImageListWrong

IMAGE = re.compile(
    r"^(?P<registry>[a-z0-9.-]+(?::\d+)?)/(?P<path>[a-z0-9._/-]+?)(?::(?P<tag>[\w.-]+))?@(?P<digest>sha256:[0-9a-f]{64})$"
)
ALLOWED = "REGISTRY/REPOSITORY[:TAG]@sha256:64 digits, or {image: that, insecure: true} for a registry without TLS"


@dataclass(frozen=True)
class PinnedImage:
    """`path` is the repository without its registry; `tag` is the name it gets in ours."""

    registry: str
    path: str
    tag: str
    digest: str
    insecure: bool = False

    @property
    def source(self) -> str:
        """The image's address for skopeo."""
        return f"docker://{self.registry}/{self.path}@{self.digest}"

    def __str__(self) -> str:
        return f"{self.path}:{self.tag}"


def read_images(path: Path) -> tuple[PinnedImage, ...]:
    """The file's images. Raises FileSyntaxWrong, and ImageListWrong with the line of the first that is none."""
    try:
        document, entries = read_yaml_nodes(path)
    except OSError as error:
        raise ImageListWrong(where=str(path), found=error.strerror or "unreadable", allowed="a YAML list") from error
    if not isinstance(entries, list) or not isinstance(document, yaml.SequenceNode):
        raise ImageListWrong(where=f"{path}:1", found=f"a {type(entries).__name__}", allowed="a YAML list")
    return tuple(
        _image(entry, f"{path}:{node.start_mark.line + 1}") for entry, node in zip(entries, document.value, strict=True)
    )


def _image(entry: object, where: str) -> PinnedImage:
    insecure, name = False, entry
    if (
        isinstance(entry, dict)
        and set(entry) <= {"image", "insecure"}
        and isinstance(entry.get("insecure", False), bool)
    ):
        name, insecure = entry.get("image"), entry.get("insecure", False)
    reference = IMAGE.match(name) if isinstance(name, str) else None
    if reference is None:
        raise ImageListWrong(where=where, found=repr(entry)[:120], allowed=ALLOWED)
    tag = reference["tag"] or reference["digest"][7:19]
    return PinnedImage(reference["registry"], reference["path"], tag, reference["digest"], insecure)
