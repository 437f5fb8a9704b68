"""Plugins as far as models need them: upload, install, tasks, lists, uninstall. No package is ever unpacked."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

from .forms import PROVIDERS
from .models import State, new_id

WORDS = ("en_US", "zh_Hans", "pt_BR", "ja_JP")
INSTALL_S = 2.0  # seconds the real one took
EMPTY = ("icon_dark", "repo", "tool", "endpoint", "agent_strategy", "datasource", "trigger")


def identifier(provider: str) -> str:
    """`author/name:version@checksum`; the checksum is of the name, as there is no package."""
    known = PROVIDERS[provider]
    return "%s:%s@%s" % (known["plugin"], known["version"], hashlib.sha256(known["plugin"].encode()).hexdigest())


def provider_of(unique: str) -> str:
    return next(name for name, known in PROVIDERS.items() if unique.startswith(known["plugin"] + ":"))


def manifest(provider: str) -> dict[str, Any]:
    known = PROVIDERS[provider]
    author, name = known["plugin"].split("/")
    words = dict.fromkeys(WORDS, known["plugin_label"])
    return {
        "version": known["version"], "author": author, "name": name, "description": words, "icon": "simulated.svg",
        "label": words, "category": "model", "created_at": "2024-07-12T08:03:44.658609Z", "resource": {},
        "plugins": {"tools": [], "models": ["provider/%s.yaml" % name], "endpoints": [], "datasources": [], "triggers": []},
        "tags": [], "verified": False, "model": {}, "meta": {"minimum_dify_version": None, "version": "0.0.1"},
        **dict.fromkeys(EMPTY),
    }  # fmt: skip


def package_head(content: bytes) -> tuple[str, str]:
    """`author/name` and version, from a package's manifest.yaml."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        text = archive.read("manifest.yaml").decode()
    found = dict(re.findall(r"^(author|name|version):\s*['\"]?([^'\"\s]+)", text, re.M))
    return "%s/%s" % (found["author"], found["name"]), found["version"]


class Plugins:
    """Works on `state["plugins"]` (plugin id to installation) and `state["tasks"]` (newest first)."""

    def __init__(self, state: State, now: Callable[[], str], clock: Callable[[], float]) -> None:
        self.state, self.now, self.clock = state, now, clock

    def upload(self, file_name: str, content: bytes | None) -> dict[str, Any]:
        """A real package says itself what it is; a recorded upload has only the file's name."""
        if content is None:
            name = file_name.rsplit("/", 1)[-1].split(".")[0]
            provider = next(known for known in PROVIDERS if known.endswith("/" + name))
            return {"unique_identifier": identifier(provider), "manifest": manifest(provider), "verification": None}
        plugin, version = package_head(content)
        provider = next(known for known in PROVIDERS if PROVIDERS[known]["plugin"] == plugin)
        unique = "%s:%s@%s" % (plugin, version, hashlib.sha256(content).hexdigest())
        return {
            "unique_identifier": unique,
            "manifest": {**manifest(provider), "version": version},
            "verification": None,
        }

    def install(self, uniques: list[str]) -> dict[str, Any]:
        missing = [unique for unique in uniques if unique.split(":")[0] not in self.state["plugins"]]
        if not missing:
            return {"all_installed": True, "task_id": "", "task": None}
        task = {"id": new_id(), "at": self.now(), "began": self.clock(), "uniques": missing, "settled": False}
        self.state["tasks"].insert(0, task)
        return {"all_installed": False, "task_id": task["id"], "task": None}

    def installed_now(self, unique: str) -> None:
        found = {"id": new_id(), "at": self.now(), "unique": unique}
        self.state["plugins"].setdefault(unique.split(":")[0], found)

    def settle(self) -> None:
        """Finish the tasks whose time has come; before every request, as the daemon works on its own."""
        for task in self.state["tasks"]:
            if self.is_done(task) and not task["settled"]:
                task["settled"] = True  # once: an uninstall after it must last
                for unique in task["uniques"]:
                    self.installed_now(unique)

    def is_done(self, task: dict[str, Any]) -> bool:
        return self.clock() - float(task["began"]) >= INSTALL_S

    def task(self, task_id: str) -> dict[str, Any]:
        return self.task_view(next(task for task in self.state["tasks"] if task["id"] == task_id))

    def task_view(self, task: dict[str, Any]) -> dict[str, Any]:
        done = self.is_done(task)
        status = "success" if done else "running"
        plugins = [
            {"plugin_unique_identifier": unique, "plugin_id": unique.split(":")[0], "status": status,
             "message": "installed" if done else "", "icon": "simulated.svg",
             "labels": dict.fromkeys(WORDS, PROVIDERS[provider_of(unique)]["plugin_label"]), "source": "package"}
            for unique in task["uniques"]
        ]  # fmt: skip
        return {"id": task["id"], "created_at": task["at"], "updated_at": self.now(), "status": status,
                "total_plugins": len(plugins), "completed_plugins": len(plugins) if done else 0, "plugins": plugins}  # fmt: skip

    def view(self, plugin: str, listed: bool) -> dict[str, Any]:
        found = self.state["plugins"][plugin]
        unique = found["unique"]
        provider = provider_of(unique)
        entry = {
            "id": found["id"], "created_at": found["at"], "updated_at": found["at"], "tenant_id": self.state["tenant"],
            "endpoints_setups": 0, "endpoints_active": 0, "runtime_type": "local", "source": "package",
            "meta": {"plugin_unique_identifier": unique}, "plugin_id": plugin, "plugin_unique_identifier": unique,
            "version": unique.split(":")[1].split("@")[0], "checksum": unique.split("@")[1], "declaration": manifest(provider),
        }  # fmt: skip
        if listed:
            entry |= {"name": plugin.split("/")[1], "installation_id": found["id"]}
        return entry

    def uninstall(self, installation: str) -> None:
        """Custom models and their credentials stay: seen in the real one."""
        for plugin, found in list(self.state["plugins"].items()):
            if found["id"] == installation:
                del self.state["plugins"][plugin]
