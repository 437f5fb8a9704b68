"""Plugins as packages by hash: what a `.difypkg` says it is, whether Dify has it, and the steps that install it.

Another version replaces the one that is there: uninstall, then install, as Dify's own form does with a package.
Custom models and their credentials outlive an uninstall (seen), so models come back with the plugin.
"""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from steelyard.errors import DifyPluginFailed, DifyPluginWrong

from .client import DifyClient
from .http import UploadFile

PLUGIN = "/workspaces/current/plugin"
POLL_S, PATIENCE_S = 2.0, 900.0  # the daemon itself gives up after ten minutes


@dataclass(frozen=True)
class Package:
    """A plugin's package on this machine. `plugin` is `author/name`."""

    path: str
    sha256: str
    plugin: str
    version: str

    @property
    def mark(self) -> str:
        """Name under which the host keeps the hash of what was installed."""
        return f"plugin/{self.plugin}"


@dataclass(frozen=True)
class PluginDifference:
    """A plugin that is missing, of another version or from another package; `installed` is the id of the installation
    to replace.
    """

    package: Package
    live: str
    installed: str | None


def read_package(path: str, sha256: str) -> Package:
    """The package in a file. Raises DifyPluginWrong: it is not there, has another hash, or is no package."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DifyPluginWrong(where="dify.plugins", package=path, why=f"cannot be read: {error.strerror}") from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise DifyPluginWrong(where="dify.plugins", package=path, why=f"has another hash: sha256 {actual}")
    try:
        with zipfile.ZipFile(path) as archive:
            manifest: dict[str, Any] = yaml.safe_load(archive.read("manifest.yaml"))
        plugin, version = f"{manifest['author']}/{manifest['name']}", str(manifest["version"])
    except (zipfile.BadZipFile, KeyError, TypeError, yaml.YAMLError) as error:
        raise DifyPluginWrong(
            where="dify.plugins", package=path, why="is no plugin package: no manifest.yaml"
        ) from error
    return Package(path, sha256, plugin, version)


def plugin_differences(
    client: DifyClient, packages: tuple[Package, ...], known_marks: Mapping[str, str]
) -> list[PluginDifference]:
    """Declared packages that Dify does not have in this version, or has from another package of it; one read.

    `known_marks` are the marks of what was installed: Dify tells a package's checksum by a rule of its own, so hashes
    are held against ours; a plugin that somebody else installed in this version is taken as it is.
    """
    if not packages:
        return []
    ids = [package.plugin for package in packages]
    answer = client.look_up(f"{PLUGIN}/list/installations/ids", {"plugin_ids": ids})
    live = {entry["plugin_id"]: entry for entry in answer["plugins"]}
    differences = []
    for package in packages:
        entry = live.get(package.plugin)
        if entry is None:
            differences.append(PluginDifference(package, "not installed", None))
        elif entry["version"] != package.version:
            differences.append(PluginDifference(package, entry["version"], entry["id"]))
        elif known_marks.get(package.mark, package.sha256) != package.sha256:
            differences.append(PluginDifference(package, f"{package.version} from another package", entry["id"]))
    return differences


def install(client: DifyClient, difference: PluginDifference) -> None:
    """Upload, remove the other version, install, wait. Raises DifyPluginWrong, DifyPluginFailed and the client's
    errors.
    """
    package = difference.package
    name = Path(package.path).name
    read_package(package.path, package.sha256)  # it may have been replaced since the plan
    body = {"pkg": UploadFile(name, Path(package.path).read_bytes())}
    unique = client.send("POST", f"{PLUGIN}/upload/pkg", body)["unique_identifier"]
    if difference.installed is not None:
        client.send("POST", f"{PLUGIN}/uninstall", {"plugin_installation_id": difference.installed})
    started = client.send("POST", f"{PLUGIN}/install/pkg", {"plugin_unique_identifiers": [unique]})
    if not started["all_installed"]:
        _wait(client, unique, started["task_id"])


def _wait(client: DifyClient, unique: str, task_id: str) -> None:
    """Wait for a terminal state through the console: that read drops Dify's cached list of providers."""
    end = time.monotonic() + PATIENCE_S
    while True:
        task = client.get(f"{PLUGIN}/tasks/{task_id}")["task"]
        if task["status"] == "success":
            return
        messages = "; ".join(plugin["message"] for plugin in task["plugins"] if plugin.get("message"))
        if task["status"] == "failed" or time.monotonic() > end:
            why = messages or f"still {task['status']} after {PATIENCE_S:.0f} s"
            raise DifyPluginFailed(where=client.where, plugin=unique.split("@")[0], why=why[:400])
        time.sleep(POLL_S)
