"""Plugins as far as models need them: upload, install, tasks, lists, uninstall. No package is ever unpacked."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable

from .credential_forms import PROVIDERS, Invalid
from .json_object import JsonObject
from .model_providers import State, new_id
from .routes import Answer, Request, Route, ok

PLUGIN = "/workspaces/current/plugin"
LANGUAGES = ("en_US", "zh_Hans", "pt_BR", "ja_JP")
INSTALL_S = 2.0  # seconds the real one took
EMPTY = ("icon_dark", "repo", "tool", "endpoint", "agent_strategy", "datasource", "trigger")


def identifier(provider: str) -> str:
    """Return `author/name:version@checksum`; the checksum is of the name, as there is no package."""
    known = PROVIDERS[provider]
    return "%s:%s@%s" % (known["plugin"], known["version"], hashlib.sha256(known["plugin"].encode()).hexdigest())


def provider_of(unique: str) -> str:
    """Return the provider that the plugin of this identifier brings."""
    return next(name for name, known in PROVIDERS.items() if unique.startswith(known["plugin"] + ":"))


def manifest(provider: str) -> JsonObject:
    """Return the manifest of a provider's plugin as the API shows it."""
    known = PROVIDERS[provider]
    author, name = known["plugin"].split("/")
    label = dict.fromkeys(LANGUAGES, known["plugin_label"])
    return {
        "version": known["version"],
        "author": author,
        "name": name,
        "description": label,
        "icon": "simulated.svg",
        "label": label,
        "category": "model",
        "created_at": "2024-07-12T08:03:44.658609Z",
        "resource": {},
        "plugins": {
            "tools": [],
            "models": ["provider/%s.yaml" % name],
            "endpoints": [],
            "datasources": [],
            "triggers": [],
        },
        "tags": [],
        "verified": False,
        "model": {},
        "meta": {"minimum_dify_version": None, "version": "0.0.1"},
        **dict.fromkeys(EMPTY),
    }


def package_head(content: bytes) -> tuple[str, str]:
    """Return `author/name` and version, from a package's manifest.yaml."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        text = archive.read("manifest.yaml").decode()
    fields = dict(re.findall(r"^(author|name|version):\s*['\"]?([^'\"\s]+)", text, re.M))
    return "%s/%s" % (fields["author"], fields["name"]), fields["version"]


class Plugins:
    """Plugins of the workspace, over `state["plugins"]` (plugin id to installation) and `state["tasks"]` (newest
    first).
    """

    def __init__(self, state: State, now: Callable[[], str], clock: Callable[[], float]) -> None:
        self.state, self.now, self.clock = state, now, clock

    def routes(self) -> list[Route]:
        """Return the routes of plugins."""
        return [
            Route("POST", PLUGIN + "/upload/pkg", self._upload),
            Route("POST", PLUGIN + "/install/pkg", self._install),
            Route("POST", PLUGIN + "/install/marketplace", self._marketplace),
            Route("GET", PLUGIN + "/tasks", self._tasks),
            Route("GET", PLUGIN + "/tasks/{id}", self._task),
            Route("GET", PLUGIN + "/list", self._list),
            Route("POST", PLUGIN + "/list/installations/ids", self._by_id),
            Route("POST", PLUGIN + "/uninstall", self._uninstall),
        ]

    def _upload(self, request: Request) -> Answer:
        package = request.body.get("pkg", "")
        if isinstance(package, dict):
            return ok(self.upload(package["name"], package["content"]))
        return ok(self.upload(package.split(": ")[-1].rstrip(">"), None))  # as it was recorded

    def _install(self, request: Request) -> Answer:
        return ok(self.install(request.body["plugin_unique_identifiers"]))

    def _marketplace(self, _: Request) -> Answer:
        raise Invalid("marketplace is not enabled")

    def _tasks(self, _: Request) -> Answer:
        return ok({"tasks": [self.task_view(task) for task in self.state["tasks"]]})

    def _task(self, request: Request) -> Answer:
        task = next(task for task in self.state["tasks"] if task["id"] == request.names["id"])
        return ok({"task": self.task_view(task)})

    def _list(self, _: Request) -> Answer:
        installed = self.state["plugins"]
        return ok({"plugins": [self.view(plugin, True) for plugin in installed], "total": len(installed)})

    def _by_id(self, request: Request) -> Answer:
        named = [plugin for plugin in request.body["plugin_ids"] if plugin in self.state["plugins"]]
        return ok({"plugins": [self.view(plugin, False) for plugin in named]})

    def _uninstall(self, request: Request) -> Answer:
        self.uninstall(request.body["plugin_installation_id"])
        return ok({"success": True})

    def upload(self, file_name: str, content: bytes | None) -> JsonObject:
        """Take a package. A real one says itself what it is; a recorded upload has only the file's name."""
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

    def install(self, uniques: list[str]) -> JsonObject:
        """Begin a task that installs those that are missing."""
        missing = [unique for unique in uniques if unique.split(":")[0] not in self.state["plugins"]]
        if not missing:
            return {"all_installed": True, "task_id": "", "task": None}
        task = {"id": new_id(), "at": self.now(), "began": self.clock(), "uniques": missing, "settled": False}
        self.state["tasks"].insert(0, task)
        return {"all_installed": False, "task_id": task["id"], "task": None}

    def installed_now(self, unique: str) -> None:
        """Install a plugin without a task; one that is there stays."""
        installation = {"id": new_id(), "at": self.now(), "unique": unique}
        self.state["plugins"].setdefault(unique.split(":")[0], installation)

    def settle(self) -> None:
        """Finish the tasks whose time has come; before every request, as the daemon works on its own."""
        for task in self.state["tasks"]:
            if self.is_done(task) and not task["settled"]:
                task["settled"] = True  # once: an uninstall after it must last
                for unique in task["uniques"]:
                    self.installed_now(unique)

    def is_done(self, task: JsonObject) -> bool:
        """Tell whether the task has had its time."""
        return self.clock() - float(task["began"]) >= INSTALL_S

    def task_view(self, task: JsonObject) -> JsonObject:
        """Return a task as the API shows it."""
        done = self.is_done(task)
        status = "success" if done else "running"
        plugins = [
            {
                "plugin_unique_identifier": unique,
                "plugin_id": unique.split(":")[0],
                "status": status,
                "message": "installed" if done else "",
                "icon": "simulated.svg",
                "labels": dict.fromkeys(LANGUAGES, PROVIDERS[provider_of(unique)]["plugin_label"]),
                "source": "package",
            }
            for unique in task["uniques"]
        ]
        return {
            "id": task["id"],
            "created_at": task["at"],
            "updated_at": self.now(),
            "status": status,
            "total_plugins": len(plugins),
            "completed_plugins": len(plugins) if done else 0,
            "plugins": plugins,
        }

    def view(self, plugin: str, listed: bool) -> JsonObject:
        """Return an installed plugin; `listed`: with what only the list says."""
        installation = self.state["plugins"][plugin]
        unique = installation["unique"]
        provider = provider_of(unique)
        entry = {
            "id": installation["id"],
            "created_at": installation["at"],
            "updated_at": installation["at"],
            "tenant_id": self.state["tenant"],
            "endpoints_setups": 0,
            "endpoints_active": 0,
            "runtime_type": "local",
            "source": "package",
            "meta": {"plugin_unique_identifier": unique},
            "plugin_id": plugin,
            "plugin_unique_identifier": unique,
            "version": unique.split(":")[1].split("@")[0],
            "checksum": unique.split("@")[1],
            "declaration": manifest(provider),
        }
        if listed:
            entry |= {"name": plugin.split("/")[1], "installation_id": installation["id"]}
        return entry

    def uninstall(self, installation: str) -> None:
        """Remove a plugin. Custom models and their credentials stay: seen in the real one."""
        for plugin, entry in list(self.state["plugins"].items()):
            if entry["id"] == installation:
                del self.state["plugins"][plugin]
