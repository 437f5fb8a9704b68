"""A list of container images by digest: what `mirror images sync` carries into a registry of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from steelyard.errors import ImageListWrong

IMAGE = re.compile(
    r"^(?P<registry>[a-z0-9.-]+(?::\d+)?)/(?P<path>[a-z0-9._/-]+?)(?::(?P<tag>[\w.-]+))?@(?P<digest>sha256:[0-9a-f]{64})$"
)
ALLOWED = "REGISTRY/REPOSITORY[:TAG]@sha256:64 digits, or {image: that, insecure: true} for a registry without TLS"


@dataclass(frozen=True)
class Image:
    """`path` is the repository without its registry; `tag` is the name it gets in ours."""

    registry: str
    path: str
    tag: str
    digest: str
    insecure: bool = False

    @property
    def source(self) -> str:
        return f"docker://{self.registry}/{self.path}@{self.digest}"

    def __str__(self) -> str:
        return f"{self.path}:{self.tag}"


def read_images(path: Path) -> tuple[Image, ...]:
    """The file's images. Raises ImageListWrong with the line of the first that is none; nothing was copied then."""
    try:
        text = path.read_text()
        document = yaml.compose(text)
        entries = yaml.safe_load(text)
    except OSError as error:
        raise ImageListWrong(where=str(path), found=error.strerror or "unreadable", allowed="a YAML list") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ImageListWrong(where=where, found="no YAML", allowed="a YAML list") from error
    if not isinstance(entries, list) or not isinstance(document, yaml.SequenceNode):
        raise ImageListWrong(where=f"{path}:1", found=f"a {type(entries).__name__}", allowed="a YAML list")
    return tuple(
        _image(entry, f"{path}:{node.start_mark.line + 1}") for entry, node in zip(entries, document.value, strict=True)
    )


def _image(entry: object, where: str) -> Image:
    insecure, named = False, entry
    if isinstance(entry, dict) and set(entry) <= {"image", "insecure"} and isinstance(entry.get("insecure", False), bool):
        named, insecure = entry.get("image"), entry.get("insecure", False)
    found = IMAGE.match(named) if isinstance(named, str) else None
    if found is None:
        raise ImageListWrong(where=where, found=repr(entry)[:120], allowed=ALLOWED)
    tag = found["tag"] or found["digest"][7:19]
    return Image(found["registry"], found["path"], tag, found["digest"], insecure)
