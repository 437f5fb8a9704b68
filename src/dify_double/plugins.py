"""Plugins as far as models need them: upload, install, upgrade, tasks, lists, uninstall.

The API hands these to the plugin daemon, so two releases decide: the API's, and the daemon's.
"""

from __future__ import annotations

from collections.abc import Callable

from .clock import Clock
from .credential_forms import PROVIDERS, Invalid
from .json_object import JsonObject, State, new_id
from .packages import LANGUAGES, NoPackage, identifier, manifest, provider_of, read_upload, version_of
from .routes import BROKEN, Answer, Request, Route, ok
from .validation import Complaints

PLUGIN = "/workspaces/current/plugin"
INSTALL_S = 2.0  # seconds the real one took
ANY_SOURCE = (0, 6, 6)  # the daemon that upgrades a plugin from wherever it came
KEEPS_CREDENTIALS = (1, 17)  # the API whose uninstall may keep credentials
FAILED = "failed to launch plugin: uv sync: exit status 2"
Removed = Callable[[str], None]


def daemon_of(release: tuple[int, ...]) -> tuple[int, ...]:
    """Return the plugin daemon that a release of Dify brings."""
    return (0, 6, 3) if release < (1, 17) else (0, 6, 10)


class Plugins:
    """Plugins of the workspace, over `state["plugins"]` (plugin id to installation), `state["packages"]` (identifiers
    that were uploaded) and `state["tasks"]` (newest first). `state["install_fails"]`, the words of a failure, makes
    every install fail that begins while it is set. `removed` is told which provider's credentials go with its plugin.
    """

    def __init__(
        self, state: State, clock: Clock, release: tuple[int, ...], daemon: tuple[int, ...], removed: Removed
    ) -> None:
        self.state, self.clock, self.release, self.daemon, self.removed = state, clock, release, daemon, removed

    def routes(self) -> list[Route]:
        """Return the routes of plugins."""
        return [
            Route("POST", PLUGIN + "/upload/pkg", self._upload),
            Route("POST", PLUGIN + "/install/pkg", self._install),
            Route("POST", PLUGIN + "/install/github", self._install_github),
            Route("POST", PLUGIN + "/install/marketplace", self._marketplace),
            Route("POST", PLUGIN + "/upgrade/github", self._upgrade_github),
            Route("POST", PLUGIN + "/upgrade/marketplace", self._marketplace),
            Route("GET", PLUGIN + "/tasks", self._tasks),
            Route("GET", PLUGIN + "/tasks/{id}", self._task),
            Route("GET", PLUGIN + "/list", self._list),
            Route("POST", PLUGIN + "/list/installations/ids", self._by_id),
            Route("POST", PLUGIN + "/uninstall", self._uninstall),
        ]

    def _upload(self, request: Request) -> Answer:
        try:
            unique = read_upload(request.body.get("pkg"))
        except NoPackage:
            return refused_by_daemon("failed to decode plugin package")
        if unique not in self.state["packages"]:
            self.state["packages"].append(unique)
        return ok({"unique_identifier": unique, "manifest": manifest(unique), "verification": None})

    def _install(self, request: Request) -> Answer:
        name = "plugin_unique_identifiers"
        Complaints("ParserPluginIdentifiers", request.body).required(name).listing(name).refuse()
        return self._begin(request.body[name], "package", None)

    def _install_github(self, request: Request) -> Answer:
        body = request.body
        names = ("plugin_unique_identifier", "repo", "version", "package")
        Complaints("ParserGithubInstall", body).required(*names).text(*names).refuse()
        return self._begin([body["plugin_unique_identifier"]], "github", github(body))

    def _begin(self, uniques: list[str], source: str, meta: JsonObject | None) -> Answer:
        """Begin a task that installs those that are missing; the daemon has to hold every package."""
        if any(unique not in self.state["packages"] for unique in uniques):
            return BROKEN
        installed = [installation["unique"] for installation in self.state["plugins"].values()]
        missing = [unique for unique in uniques if unique not in installed]
        if not missing:
            return ok({"all_installed": True, "task_id": "", "task": None})
        return self._task_of(missing, source, meta, "install")

    def _task_of(self, uniques: list[str], source: str, meta: JsonObject | None, kind: str) -> Answer:
        task = {
            "id": new_id(),
            "at": self.clock.iso(),
            "ended": None,
            "began": self.clock.read(),
            "uniques": uniques,
            "source": source,
            "meta": meta,
            "kind": kind,
            "failure": self.state.get("install_fails"),
        }
        self.state["tasks"].insert(0, task)
        return ok({"all_installed": False, "task_id": task["id"], "task": None})

    def _marketplace(self, _: Request) -> Answer:
        raise Invalid("marketplace is not enabled")

    def _upgrade_github(self, request: Request) -> Answer:
        """Put a new package in an installation's place; its id and its credentials stay.

        A daemon before 0.6.6 looks for an installation that came from GitHub too.
        """
        body = request.body
        names = ("original_plugin_unique_identifier", "new_plugin_unique_identifier", "repo", "version", "package")
        Complaints("ParserGithubUpgrade", body).required(*names).text(*names).refuse()
        original, new = body[names[0]], body[names[1]]
        if original == new:
            return refused_by_daemon("original and new plugin unique identifier are the same")
        installation = self.state["plugins"].get(original.split(":")[0])
        if installation is None or installation["unique"] != original or new not in self.state["packages"]:
            return BROKEN
        if self.daemon < ANY_SOURCE and source_of(installation) != "github":
            return BROKEN
        return self._task_of([new], "github", github(body), "upgrade")

    def _tasks(self, _: Request) -> Answer:
        return ok({"tasks": [self.task_view(task) for task in self.state["tasks"]]})

    def _task(self, request: Request) -> Answer:
        task = next((task for task in self.state["tasks"] if task["id"] == request.names["id"]), None)
        return BROKEN if task is None else ok({"task": self.task_view(task)})

    def _list(self, _: Request) -> Answer:
        installed = self.state["plugins"]
        return ok({"plugins": [self.view(plugin, True) for plugin in installed], "total": len(installed)})

    def _by_id(self, request: Request) -> Answer:
        Complaints("ParserLatest", request.body).required("plugin_ids").listing("plugin_ids").refuse()
        named = [plugin for plugin in request.body["plugin_ids"] if plugin in self.state["plugins"]]
        return ok({"plugins": [self.view(plugin, False) for plugin in named]})

    def _uninstall(self, request: Request) -> Answer:
        """Remove a plugin and forget its package. Credentials of its provider go with it, unless a release that can
        is told to keep them; those of custom models stay.
        """
        Complaints("ParserUninstall", request.body).required("plugin_installation_id").refuse()
        keep = self.release >= KEEPS_CREDENTIALS and request.body.get("preserve_credentials") is True
        for plugin, entry in list(self.state["plugins"].items()):
            if entry["id"] == request.body["plugin_installation_id"]:
                del self.state["plugins"][plugin]
                self.state["packages"] = [known for known in self.state["packages"] if known != entry["unique"]]
                if not keep:
                    self.removed(provider_of(entry["unique"]))
        return ok({"success": True})

    def preinstall(self, provider: str) -> None:
        """Install the plugin of a provider at once, from a package."""
        unique = identifier(provider)
        self.state["packages"].append(unique)
        self._installed(unique, "package", None)

    def _installed(self, unique: str, source: str, meta: JsonObject | None) -> None:
        """Install a plugin; where another version is there, that one stays and nothing says so."""
        installation = {"id": new_id(), "at": self.clock.iso(), "unique": unique, "source": source, "meta": meta}
        self.state["plugins"].setdefault(unique.split(":")[0], installation)

    def settle(self) -> None:
        """Finish the tasks whose time has come; before every request, as the daemon works on its own."""
        for task in self.state["tasks"]:
            if task["ended"] is not None or self.clock.read() - float(task["began"]) < INSTALL_S:
                continue
            task["ended"] = self.clock.iso()  # once: an uninstall after it must last
            for unique in task["uniques"] if task["failure"] is None else ():
                if task["kind"] == "install":
                    self._installed(unique, task["source"], task["meta"])
                    continue
                installation = self.state["plugins"].get(unique.split(":")[0])
                if installation is not None:
                    installation |= {"at": task["ended"], "unique": unique, "source": "github", "meta": task["meta"]}

    def task_view(self, task: JsonObject) -> JsonObject:
        """Return a task as the API shows it. One of an upgrade has neither a picture nor labels."""
        upgrade, done = task["kind"] == "upgrade", task["ended"] is not None
        waiting = ("running", "starting") if upgrade else ("pending", "")
        half = self.clock.read() - float(task["began"]) >= INSTALL_S / 2
        status, message = ("running", "starting") if half else waiting
        if done:
            status, message = "success", "upgraded" if upgrade else "installed"
            if task["failure"] is not None:
                status, message = "failed", task["failure"]
        plugins = []
        for unique in task["uniques"]:
            known = PROVIDERS[provider_of(unique)]
            plugins.append(
                {
                    "plugin_unique_identifier": unique,
                    "plugin_id": unique.split(":")[0],
                    "status": status,
                    "message": message,
                    "icon": "" if upgrade else known["icon"],
                    "labels": dict.fromkeys(LANGUAGES, "" if upgrade else known["plugin_label"]),
                    "source": task["source"],
                }
            )
        return {
            "id": task["id"],
            "created_at": task["at"],
            "updated_at": task["ended"] or task["at"],
            "status": status,
            "total_plugins": len(plugins),
            "completed_plugins": len(plugins) if status == "success" else 0,
            "plugins": plugins,
        }

    def view(self, plugin: str, listed: bool) -> JsonObject:
        """Return an installed plugin; `listed`: with what only the list says."""
        installation = self.state["plugins"][plugin]
        unique = installation["unique"]
        entry = {
            "id": installation["id"],
            "created_at": installation["at"],
            "updated_at": installation["at"],
            "tenant_id": self.state["tenant"],
            "endpoints_setups": 0,
            "endpoints_active": 0,
            "runtime_type": "local",
            "source": source_of(installation),
            "meta": installation.get("meta") or {"plugin_unique_identifier": unique},
            "plugin_id": plugin,
            "plugin_unique_identifier": unique,
            "version": version_of(unique),
            "checksum": unique.split("@")[1],
            "declaration": manifest(unique),
        }
        if listed:
            entry |= {"name": plugin.split("/")[1], "installation_id": installation["id"]}
        return entry


def source_of(installation: JsonObject) -> str:
    """Return where an installation came from; an older state does not say."""
    return str(installation.get("source") or "package")


def github(body: JsonObject) -> JsonObject:
    """Return what an installation keeps of the repository that its package is said to come from."""
    return {"repo": body["repo"], "version": body["version"], "package": body["package"]}


def refused_by_daemon(message: str) -> Answer:
    """Return a refusal of the plugin daemon as the API hands it on: without a status in its body."""
    return 400, [], {"code": "plugin_error", "message": message}
