"""A plugin's package on this machine: what a `.difypkg` says it is, taken by its hash."""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from steelyard.errors import DifyPluginWrong

REPO = re.compile(r"^(?:https?://github\.com/)?([\w.-]+/[\w.-]+?)(?:\.git|/.*)?$")


@dataclass(frozen=True)
class Package:
    """A plugin's package on this machine. `plugin` is `author/name`; `repo` is the one that its manifest names."""

    path: str
    sha256: str
    plugin: str
    version: str
    repo: str = ""

    @property
    def mark(self) -> str:
        """Name under which the host keeps the hash of what was installed."""
        return f"plugin/{self.plugin}"


def read_package(path: str, sha256: str | None) -> Package:
    """The package in a file, of any hash where `sha256` is None. Raises DifyPluginWrong: it is not there, has another
    hash, or is no package.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DifyPluginWrong(where="dify.plugins", package=path, why=f"cannot be read: {error.strerror}") from error
    actual = hashlib.sha256(content).hexdigest()
    if sha256 is not None and actual != sha256:
        raise DifyPluginWrong(where="dify.plugins", package=path, why=f"has another hash: sha256 {actual}")
    try:
        with zipfile.ZipFile(path) as archive:
            manifest: dict[str, Any] = yaml.safe_load(archive.read("manifest.yaml"))
        plugin, version = f"{manifest['author']}/{manifest['name']}", str(manifest["version"])
    except (zipfile.BadZipFile, KeyError, TypeError, yaml.YAMLError) as error:
        raise DifyPluginWrong(
            where="dify.plugins", package=path, why="is no plugin package: no manifest.yaml"
        ) from error
    named = REPO.match(str(manifest.get("repo") or ""))
    return Package(path, actual, plugin, version, named[1] if named else plugin)
