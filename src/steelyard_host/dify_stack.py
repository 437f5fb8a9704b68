"""The Compose stack that Dify is, on its host: what runs, what should, and whether it answers. Source: docker, Compose.

What is declared lies in /etc/steelyard/dify.json, without a secret: folder, project, version, port, backups.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import ssl
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import dify_env
from .store import StoreError

CONFIG = Path("/etc/steelyard/dify.json")
RECORD, MADE = ".steelyard-release.json", ".steelyard-running.json"
WRITERS = ("api", "worker", "worker_beat", "plugin_daemon", "api_websocket", "agent_backend")
ONCE = ("init_permissions",)
MANY_RESTARTS = 8  # Docker waits twice as long each time: by then half a minute has gone
DATABASE = "db_postgres"


class DifyError(StoreError):
    """One sentence of why."""


class Stack:
    """One Compose project in its folder."""

    def __init__(self, config: dict[str, Any], folder: Path | None = None, project: str | None = None) -> None:
        self.config = config
        self.folder = folder or Path(config["folder"])
        self.project = project or config["project"]
        self.ready_s = float(config.get("ready_s", 900))

    def compose(self, *words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        """`docker compose` of this project. Raises DifyError with its last line."""
        command = ["docker", "compose", "--project-name", self.project, *words]
        return run(command, check, cwd=self.folder, **more)

    def containers(self) -> dict[str, dict[str, Any]]:
        """Service to its container's state, health, image, ports, the hash of what it was made from, its exit code."""
        label = "label=com.docker.compose.project=%s" % self.project
        ids = run(["docker", "ps", "--all", "--quiet", "--filter", label], True).stdout.split()
        if not ids:
            return {}
        found = {}
        for each in json.loads(run(["docker", "inspect", *ids], True).stdout):
            labels, now = each["Config"]["Labels"], each["State"]
            if labels.get("com.docker.compose.oneoff") == "True":
                continue
            found[labels["com.docker.compose.service"]] = {
                "state": now["Status"],
                "health": (now.get("Health") or {}).get("Status"),
                "image": each["Config"]["Image"],
                "hash": labels.get("com.docker.compose.config-hash"),
                "exit": now["ExitCode"],
                "restarts": each["RestartCount"],
                "ports": sorted(
                    "%s:%s" % (bound["HostIp"] or "0.0.0.0", bound["HostPort"])
                    for several in (each["HostConfig"].get("PortBindings") or {}).values()
                    for bound in several or ()
                ),
            }
        return found

    def wanted(self) -> dict[str, str]:
        """Service to a hash of what its container should be made from, its environment too.

        Not Compose's own: `config --hash` gives another one than `up` writes down, where there is an `env_file` (2.26).
        """
        document = json.loads(self.compose("config", "--format", "json").stdout)
        return {
            name: hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()
            for name, entry in document["services"].items()
        }

    def made(self) -> dict[str, list[str]]:
        """Service to what its container was made from: our hash, and the one that Compose wrote down."""
        try:
            found: dict[str, list[str]] = json.loads((self.folder / MADE).read_text())
        except (OSError, ValueError):
            return {}
        return found

    def unready(self, containers: dict[str, dict[str, Any]] | None = None) -> dict[str, str]:
        """Service to why it is not as it should be; empty where all are."""
        now = self.containers() if containers is None else containers
        found, made = {}, self.made()
        for service, wanted in self.wanted().items():
            here = now.get(service)
            if here is None:
                found[service] = "no container"
            elif made.get(service) != [wanted, here["hash"]]:
                found[service] = "made from another configuration"
            elif service in ONCE:
                if here["state"] != "exited" or here["exit"] != 0:
                    found[service] = "%s with %s" % (here["state"], here["exit"])
            elif here["state"] != "running" or here["health"] not in (None, "healthy"):
                found[service] = here["health"] or here["state"]
        return found

    def up(self, seconds: float) -> None:
        """Start what should run and wait until it does, and Dify answers with its version. Raises DifyError."""
        from . import dify_database

        if not self.config.get("postgres"):
            dify_database.start(self, seconds)
            dify_database.settle_password(self)
        self.compose("up", "--detach", "--remove-orphans", "--quiet-pull")
        now = self.containers()
        made = {service: [wanted, now[service]["hash"]] for service, wanted in self.wanted().items() if service in now}
        dify_env.keep(self.folder / MADE, json.dumps(made))
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            now = self.containers()
            wrong = self.unready(now)
            hopeless = [name for name in wrong if name in now and now[name]["restarts"] >= MANY_RESTARTS]
            if hopeless:
                raise DifyError("Dify does not come up: %s ends again and again%s" % (hopeless[0], self._words(hopeless)))
            why = ", ".join("%s: %s" % each for each in sorted(wrong.items())) or self.silent()
            if not why:
                return
            if time.monotonic() > end:
                raise DifyError("Dify is not ready after %d s: %s%s" % (seconds, why, self._words(wrong)))
            time.sleep(1)

    def _words(self, wrong: Iterable[str]) -> str:
        """The last line that a service which is not ready logged."""
        for service in sorted(wrong):
            lines = self.compose("logs", "--no-log-prefix", "--tail", "3", service, check=False).stdout.strip().splitlines()
            if lines:
                return "; %s says: %s" % (service, re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", lines[-1])[-200:])
        return ""

    def silent(self) -> str:
        """Empty where Dify answers as the declared version; else why not."""
        status, version = self.ask("/console/api/setup")
        if status != 200:
            return "the console answers with %s" % (status or "nothing")
        wanted = self.version()
        if version and wanted and version.split("-")[0] != wanted.split("-")[0]:
            return "the console says it is %s" % version
        return ""

    def ask(self, path: str) -> tuple[int, str | None]:
        """Status (0: no answer) and version of an answer through Dify's own nginx, as browsers get it."""
        port, tls = self.config["port"], self.config.get("tls_port")
        unverified = ssl._create_unverified_context()  # the name on the certificate is not 127.0.0.1
        connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection("127.0.0.1", tls, timeout=5, context=unverified)
            if tls
            else http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        )
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("X-Version")
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()

    def record(self) -> dict[str, Any]:
        """What was put into the folder: version, and files with their hashes."""
        try:
            found: dict[str, Any] = json.loads((self.folder / RECORD).read_text())
        except (OSError, ValueError):
            return {"version": None, "files": {}}
        return found

    def version(self) -> str | None:
        found = self.record()["version"]
        return None if found is None else str(found)


def run(command: list[str], check: bool, **more: Any) -> subprocess.CompletedProcess[str]:
    """Raises DifyError: what was run, and the last line it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, **more)
    except FileNotFoundError as error:
        raise DifyError("there is no %s on this host" % command[0]) from error
    if check and done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no word of why"]
        name = " ".join(command[:2] + [word for word in command[2:] if not word.startswith("-")][:3])
        raise DifyError("`%s` ended with %d: %s" % (name, done.returncode, lines[-1][-300:]))
    return done


def config() -> dict[str, Any]:
    """Raises DifyError where the role has not been here."""
    try:
        found: dict[str, Any] = json.loads(CONFIG.read_text())
    except (OSError, ValueError) as error:
        raise DifyError("Dify was not installed here by steelyard: no %s" % CONFIG) from error
    return found


def declared() -> Stack:
    return Stack(config())


def brought_up() -> dict[str, Any]:
    stack = declared()
    stack.up(stack.ready_s)
    return {"unready": {}}


def file_hash(path: Path) -> str | None:
    if not path.is_file():
        return None
    found = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def state(folder: Path) -> dict[str, Any]:
    """All that a plan and drift ask of this host, in one answer."""
    made = config() if CONFIG.exists() else {"folder": str(folder), "project": "dify", "port": 80}
    stack = Stack(made, folder)
    record = stack.record()
    changed = sorted(name for name, wanted in record["files"].items() if file_hash(folder / name) != wanted)
    installed = record["version"] is not None and (folder / dify_env.LIVE).exists()
    told: dict[str, Any] = {"differs": [], "unknown": [], "renamed": {}, "unsafe": []}
    if (folder / dify_env.TEMPLATE).exists():
        told = dify_env.merged(folder)[1]
    found: dict[str, Any] = {
        "version": record["version"], "changed": changed, "env": told, "unready": {}, "open": [], "keyless": [], **_size(),
    }  # fmt: skip
    try:
        containers = stack.containers() if installed else {}
        found["unready"] = stack.unready(containers) if installed else {}
    except DifyError as error:
        return {**found, "error": str(error)}
    published = containers.get("plugin_daemon", {}).get("ports", [])
    found["open"] = [each for each in published if not each.startswith("127.")]
    from . import dify_keys

    found["keyless"] = dify_keys.lost(stack) if DATABASE in containers or made.get("postgres") else []
    return {**found, "error": ""}


def _size() -> dict[str, int]:
    """Of this host: workers are counted by it."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cores": os.cpu_count() or 1, "memory": pages}


def install_record(folder: Path, version: str, names: list[str]) -> dict[str, Any]:
    """Write down which files of a release are in the folder, by their hashes; files of another release go."""
    before = Stack({"project": "", "port": 0}, folder).record()["files"]
    for gone in before.keys() - set(names):
        (folder / gone).unlink(missing_ok=True)
    files = {name: file_hash(folder / name) for name in names}
    dify_env.keep(folder / RECORD, json.dumps({"version": version, "files": files}, indent=1))
    return {"version": version, "files": len(files)}
