"""The official compose file, read and never changed: who runs, from which image; and our override beside it.

The override pins images by digest, keeps every port but nginx's off the network, adds health checks to services that
have none, limits memory and logs, and gives Redis its configuration without its password in any argv. Source: facts of
1.16.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from .release import release_of
from .source import COMPOSE

LOGS = {"driver": "json-file", "options": {"max-size": "20m", "max-file": "5"}}
# The one service that the network is to reach.
PUBLIC = "nginx"
# Compose's floor: `!override`, and optional files of variables; the newest releases ask for more by their own words.
FLOOR, LATER_FLOOR, LATER = (2, 24, 4), (2, 35, 0), (1, 17)
# what services lack. Next listens on the address of $HOSTNAME, which Docker sets to the container's name: then neither
# a health check on 127.0.0.1 nor anything else in the container reaches it
ENVIRONMENT = {"web": {"HOSTNAME": "0.0.0.0"}}
# services that the compose file leaves without a health check, and what answers in them
ADDRESSES = {
    "plugin_daemon": "http://127.0.0.1:${PLUGIN_DAEMON_PORT:-5002}/health/check",
    "web": "http://127.0.0.1:3000/",
    "nginx": "http://127.0.0.1:${NGINX_PORT:-80}/console/api/setup",
    "weaviate": "http://127.0.0.1:8080/v1/.well-known/ready",
}
MEMORY = {
    "api": "4g",
    "worker": "4g",
    "worker_beat": "1g",
    "web": "1g",
    "plugin_daemon": "4g",
    "db_postgres": "4g",
    "redis": "1g",
    "weaviate": "4g",
    "sandbox": "2g",
    "local_sandbox": "2g",
    "agent_backend": "2g",
    "nginx": "512m",
    "ssrf_proxy": "512m",
    "agent_ssrf_proxy": "512m",
    "api_websocket": "1g",
}
REDIS = r"""exec docker-entrypoint.sh redis-server - <<EOF
requirepass "$$(printf %s "$$REDIS_PASSWORD" | sed 's/[\\"]/\\&/g')"
dir /data
appendonly yes
appendfsync everysec
maxmemory 768mb
maxmemory-policy volatile-lru
tcp-keepalive 60
EOF
"""
_PARTS = re.compile(r"(?:\$\{[^}]*\}|\[[^\]]*\]|[^:])+")  # of a published port; a reference may have a colon in it


@dataclass(frozen=True)
class ComposeService:
    """One service of the compose file. `ports` are as written there."""

    name: str
    image: str
    profiles: tuple[str, ...]
    checked: bool
    ports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Override:
    """The content of our override: `images` and `limits` by service.

    Containers of another release than `released` are made anew.
    """

    images: dict[str, str] = field(default_factory=dict)
    limits: dict[str, dict[str, str]] = field(default_factory=dict)
    released: str = ""


def needs_compose(version: str) -> str:
    """The oldest Compose that reads the files of a release, and our override beside them."""
    release = release_of(version)
    newer = release is not None and release[:2] >= LATER
    return ".".join(str(part) for part in (LATER_FLOOR if newer else FLOOR))


def is_older_compose(version: str, needed: str) -> bool:
    """Whether a Compose of one release is older than another, both as `2.26.1`."""
    have, want = ([int(part) for part in text.split(".")] for text in (version, needed))
    return have < want


def compose_services(files: dict[str, bytes], profiles: tuple[str, ...]) -> tuple[ComposeService, ...]:
    """The services that run with these profiles, in the file's order."""
    running = []
    for name, entry in (yaml.safe_load(files[COMPOSE]).get("services") or {}).items():
        needs = tuple(entry.get("profiles") or ())
        if not needs or set(needs) & set(profiles):
            image, ports = str(entry.get("image", "")), tuple(_port(port) for port in entry.get("ports") or ())
            running.append(ComposeService(name, image, needs, "healthcheck" in entry, ports))
    return tuple(running)


def _port(entry: str | int | dict[str, Any]) -> str:
    """A published port as `[ADDRESS:]PORT:PORT`, in whichever of its forms a compose file has it."""
    if isinstance(entry, dict):
        parts = (entry.get("host_ip"), entry.get("published", entry["target"]), entry["target"])
        return ":".join(str(part) for part in parts if part is not None)
    return str(entry)


def _on_this_host(port: str) -> str:
    """The same port, published on this host's own address only."""
    *address, published, target = _PARTS.findall(port) if len(_PARTS.findall(port)) > 1 else [port, port]
    own = address and (address[0].startswith("127.") or address[0] in ("localhost", "[::1]"))
    return port if own else f"127.0.0.1:{published}:{target}"


class _Overriding(list):  # type: ignore[type-arg]
    """A list that replaces the compose file's instead of being added to it."""


class _Dumper(yaml.SafeDumper):
    pass


def _tagged(dumper: yaml.SafeDumper, value: _Overriding) -> yaml.SequenceNode:
    return dumper.represent_sequence("!override", list(value))


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(_Overriding, _tagged)
_Dumper.add_representer(str, _text)


def override_text(running: tuple[ComposeService, ...], override: Override) -> str:
    """The content of docker-compose.override.yaml."""
    document = {"services": {service.name: _service(service, override) for service in running}}
    head = "# steelyard: role dify; the official file beside it is untouched\n"
    return head + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120)


def _service(service: ComposeService, override: Override) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if service.name in override.images:
        fields["image"] = override.images[service.name]
    fields["logging"] = LOGS
    fields["labels"] = {
        "steelyard.release": override.released
    }  # files that they mount change without a trace otherwise
    limits = {
        **({"memory": MEMORY[service.name]} if service.name in MEMORY else {}),
        **override.limits.get(service.name, {}),
    }
    if limits:
        fields["deploy"] = {"resources": {"limits": limits, "reservations": {"memory": "64m"}}}
    if service.name in ADDRESSES and not service.checked:
        fields["healthcheck"] = _check(ADDRESSES[service.name])
    hidden = tuple(_on_this_host(port) for port in service.ports)
    if service.name != PUBLIC and hidden != service.ports:
        fields["ports"] = _Overriding(hidden)
    if service.name in ENVIRONMENT:
        fields["environment"] = ENVIRONMENT[service.name]
    if service.name == "redis":
        # over standard input, so that the password is in no argv, of the server or of the health check
        fields["command"] = _Overriding(["sh", "-c", REDIS])
        fields["environment"] = {"REDIS_PASSWORD": "${REDIS_PASSWORD}"}
        test = ["CMD-SHELL", 'REDISCLI_AUTH="$$REDIS_PASSWORD" redis-cli ping | grep -q PONG']
        fields["healthcheck"] = {"test": _Overriding(test), "interval": "5s", "timeout": "5s", "retries": 12}
    return fields


def _check(address: str) -> dict[str, Any]:
    """A health check by whichever of three programs the image has."""
    python = f"python3 -c 'import urllib.request; urllib.request.urlopen(\"{address}\", timeout=4)'"
    tried = f"curl -fsS -o /dev/null {address} || wget -q -O /dev/null {address} || {python}"
    return {"test": ["CMD-SHELL", tried], "interval": "5s", "timeout": "10s", "retries": 12, "start_period": "300s"}
