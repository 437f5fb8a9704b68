"""The Compose project that Dify is, on its host: what runs, what should, and whether it answers. Source: docker.

What is declared lies in /etc/steelyard/dify.json, without a secret: folder, project, version, port, backups.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import ssl
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from steelyard_host import paths
from steelyard_host.errors import HelperError
from steelyard_host.system import json_file
from steelyard_host.system.http_body import body_of
from steelyard_host.wire.codec import WireError, from_json
from steelyard_host.wire.dify import ReleaseRecord

CONFIG = Path(paths.DIFY_CONFIG)
RECORD, MADE = ".steelyard-release.json", ".steelyard-running.json"
WRITERS = ("api", "worker", "worker_beat", "plugin_daemon", "api_websocket", "agent_backend")
ONCE = ("init_permissions",)
PROXY, BEHIND = "nginx", ("api", "web", "plugin_daemon")  # the proxy asks for their addresses once, when it starts
THROUGH = {"/": "web", "/e/steelyard": "plugin_daemon"}  # that each of them is reached shows in no other check
LOOK_S = 5.0  # between two looks of the proxy
MANY_RESTARTS = 8  # Docker waits twice as long each time: by then half a minute has gone
DATABASE = "db_postgres"


class DifyError(HelperError):
    """One sentence of why Dify, or work on it, does not come to its end."""


class Container(NamedTuple):
    """A service's container as Docker has it.

    `hash`: Compose's, of what it was made from; `ports`: ADDRESS:PORT; `began`: when it was started last, as text that
    sorts by time.
    """

    state: str
    health: str | None
    image: str
    hash: str | None
    exit: int
    restarts: int
    ports: list[str]
    began: str = ""


class DeclaredService(NamedTuple):
    """A service of the compose file. `hash`: ours, of all that is said of it; `keeps_data`: it mounts files."""

    hash: str
    image: str
    keeps_data: bool


class Stack:
    """One Compose project in its folder; `config` is what is declared of it."""

    def __init__(self, config: dict[str, Any], folder: Path | None = None, project: str | None = None) -> None:
        self.config = config
        self.folder = folder or Path(config["folder"])
        self.project = project or config["project"]
        self.ready_s = float(config.get("ready_s", 900))

    @property
    def has_own_database(self) -> bool:
        """Whether PostgreSQL is one of its containers, and not a server of the site."""
        return not self.config.get("postgres")

    def compose(self, *argv: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs `docker compose` for this project. Raises DifyError with its last line."""
        command = ["docker", "compose", "--project-name", self.project, *argv]
        return run(command, check, cwd=self.folder, **options)

    def containers(self) -> dict[str, Container]:
        """Containers of the project, those that ran once too, by service."""
        containers = {}
        for entry in self._inspected():
            labels, state = entry["Config"]["Labels"], entry["State"]
            if labels.get("com.docker.compose.oneoff") == "True":
                continue
            containers[labels["com.docker.compose.service"]] = Container(
                state=state["Status"],
                health=(state.get("Health") or {}).get("Status"),
                image=entry["Config"]["Image"],
                hash=labels.get("com.docker.compose.config-hash"),
                exit=state["ExitCode"],
                restarts=entry["RestartCount"],
                ports=sorted(
                    "%s:%s" % (bound["HostIp"] or "0.0.0.0", bound["HostPort"])
                    for several in (entry["HostConfig"].get("PortBindings") or {}).values()
                    for bound in several or ()
                ),
                began=state.get("StartedAt") or "",
            )
        return containers

    def _inspected(self) -> list[dict[str, Any]]:
        """What `docker inspect` says of each container of the project. Raises DifyError.

        It fails where one of them is removed meanwhile, by compose for example: then they are listed anew.
        """
        ids = self._container_ids()
        while ids:
            done = run(["docker", "inspect", *ids], False)
            if done.returncode == 0:
                return list(json.loads(done.stdout))
            before, ids = ids, self._container_ids()
            if set(before) <= set(ids):
                run(["docker", "inspect", *before], True)  # it is not that
        return []

    def address(self, container: str) -> str | None:
        """The address of a container in one of its networks, by its service or its own name; None where it has none."""
        inspected = next((entry for entry in self._inspected() if _is_of(entry, container)), None)
        networks = ((inspected or {}).get("NetworkSettings") or {}).get("Networks") or {}
        return next((network["IPAddress"] for network in networks.values() if network.get("IPAddress")), None)

    def _container_ids(self) -> list[str]:
        label = "label=com.docker.compose.project=%s" % self.project
        return run(["docker", "ps", "--all", "--quiet", "--filter", label], True).stdout.split()

    def declared_hashes(self) -> dict[str, str]:
        """A hash of what the container of each service should be made from, its environment too.

        Not Compose's own: `config --hash` gives another one than `up` writes down, where there is an `env_file` (2.26).
        """
        return {name: service.hash for name, service in self.services().items()}

    def services(self, *files: str) -> dict[str, DeclaredService]:
        """The services of the project as Compose reads its files, or `--file NAME` ones alone. Raises DifyError."""
        document = json.loads(self.compose(*files, "config", "--format", "json").stdout)
        return {
            name: DeclaredService(
                hash=hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest(),
                image=str(entry.get("image") or ""),
                keeps_data=any(mount.get("type") in ("bind", "volume") for mount in entry.get("volumes") or ()),
            )
            for name, entry in document["services"].items()
        }

    def made_from(self) -> dict[str, list[str]]:
        """The sources of each service's container: our hash, and the one that Compose wrote down."""
        return json_file.read_object(self.folder / MADE)

    def write_made_from(self) -> None:
        """Writes down what the containers that run now were made from. Raises OSError."""
        containers = self.containers()
        made = {
            service: [declared, containers[service].hash]
            for service, declared in self.declared_hashes().items()
            if service in containers
        }
        json_file.write_atomically(self.folder / MADE, made, mode=0o600)

    def unready(self, containers: dict[str, Container] | None = None) -> dict[str, str]:
        """Reasons why services are not as they should be, by their names; empty where all are."""
        running = self.containers() if containers is None else containers
        reasons, made = {}, self.made_from()
        for service, declared in self.declared_hashes().items():
            container = running.get(service)
            if container is None:
                reasons[service] = "no container"
            elif made.get(service) != [declared, container.hash]:
                reasons[service] = "made from another configuration"
            elif service in ONCE:
                if container.state != "exited" or container.exit != 0:
                    reasons[service] = "%s with %s" % (container.state, container.exit)
            elif container.state != "running" or container.health not in (None, "healthy"):
                reasons[service] = container.health or container.state
        return reasons

    def let_proxy_look(self) -> None:
        """Has the proxy read its configuration again, and so look up where its services are; no request is cut.

        One that is just starting refuses, and looks them up by itself.
        """
        self.compose("exec", "-T", PROXY, "nginx", "-s", "reload", check=False)

    def wait(self, seconds: float) -> None:
        """Waits until every service is as it should be and Dify answers. Raises DifyError after `seconds`."""
        end, look = time.monotonic() + seconds, 0.0
        while True:
            containers = self.containers()
            unready = self.unready(containers)
            # the proxy ends for as long as there is nobody behind it: that is its neighbour's failure
            ending = [name for name in unready if name != PROXY or len(unready) == 1]
            hopeless = [name for name in ending if name in containers and containers[name].restarts >= MANY_RESTARTS]
            if hopeless:
                raise DifyError(
                    "Dify does not come up: %s ends again and again%s" % (hopeless[0], self._last_line(hopeless))
                )
            why = ", ".join("%s: %s" % pair for pair in sorted(unready.items())) or self.silent()
            if not why:
                return
            if set(unready) <= {PROXY} and time.monotonic() > look:
                self.let_proxy_look()  # all that it asks is there, and may have come after it looked
                look = time.monotonic() + LOOK_S
            if time.monotonic() > end:
                raise DifyError("Dify is not ready after %d s: %s%s" % (seconds, why, self._last_line(unready)))
            time.sleep(1)

    def _last_line(self, services: Iterable[str]) -> str:
        """The last line that one of the services logged, as the end of a sentence."""
        for service in sorted(services):
            logged = self.compose("logs", "--no-log-prefix", "--tail", "3", service, check=False)
            lines = logged.stdout.strip().splitlines()
            if lines:
                return "; %s says: %s" % (service, re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", lines[-1])[-200:])
        return ""

    def silent(self) -> str:
        """The reason why Dify does not answer as the declared version; empty where it does."""
        status, version = self.ask("/console/api/setup")
        if status != 200:
            return "the console answers with %s" % (status or "nothing")
        declared = self.version()
        if version and declared and version.split("-")[0] != declared.split("-")[0]:
            return "the console says it is %s" % version
        for path, service in THROUGH.items():
            if self.ask(path)[0] in (502, 504):
                return "the way through %s to %s is cut" % (PROXY, service)
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
            body_of(answer)
            return answer.status, answer.getheader("X-Version")
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()

    def record(self) -> ReleaseRecord:
        """The release that was put into the folder."""
        try:
            return from_json(ReleaseRecord, json_file.read(self.folder / RECORD))
        except WireError:
            return ReleaseRecord()

    def version(self) -> str | None:
        """Version of the release in the folder; None where there is none."""
        return self.record().version


def _is_of(entry: dict[str, Any], container: str) -> bool:
    """Whether what `docker inspect` says is of the container with that name, or of that service's."""
    labels = entry["Config"]["Labels"]
    service = "" if labels.get("com.docker.compose.oneoff") == "True" else labels.get("com.docker.compose.service")
    return container in (service, str(entry.get("Name")).lstrip("/"))


def run(command: list[str], check: bool, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a command. Raises DifyError with `check`: what was run, and the last line it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, **options)
    except FileNotFoundError as error:
        raise DifyError("there is no %s on this host" % command[0]) from error
    if check and done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no word of why"]
        name = " ".join(command[:2] + [word for word in command[2:] if not word.startswith("-")][:3])
        raise DifyError("`%s` ended with %d: %s" % (name, done.returncode, lines[-1][-300:]))
    return done


def declared_config() -> dict[str, Any]:
    """The declaration of this host's Dify. Raises DifyError where the role has not been here."""
    try:
        config: dict[str, Any] = json.loads(CONFIG.read_text())
    except (OSError, ValueError) as error:
        raise DifyError("Dify was not installed here by steelyard: no %s" % CONFIG) from error
    return config


def declared_stack() -> Stack:
    """The stack as it is declared. Raises DifyError."""
    return Stack(declared_config())
