"""The official compose file, read and never changed: who runs, from which image; and our override beside it.

The override pins images by digest, keeps the debug port off the network, adds health checks to services that have none,
limits memory and logs, and gives Redis its configuration without its password in any argv. Source: facts of 1.16.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from .source import COMPOSE

DEBUG_PORT = "127.0.0.1:${EXPOSE_PLUGIN_DEBUGGING_PORT:-5003}:${PLUGIN_DEBUGGING_PORT:-5003}"
LOGS = {"driver": "json-file", "options": {"max-size": "20m", "max-file": "5"}}
# services that the compose file leaves without a health check, and what answers in them
ADDRESSES = {
    "plugin_daemon": "http://127.0.0.1:5002/health/check",
    "web": "http://127.0.0.1:3000/",
    "nginx": "http://127.0.0.1:80/console/api/setup",
    "weaviate": "http://127.0.0.1:8080/v1/.well-known/ready",
}
MEMORY = {
    "api": "4g", "worker": "4g", "worker_beat": "1g", "web": "1g", "plugin_daemon": "4g", "db_postgres": "4g", "redis": "1g",
    "weaviate": "4g", "sandbox": "2g", "local_sandbox": "2g", "agent_backend": "2g", "nginx": "512m", "ssrf_proxy": "512m",
    "agent_ssrf_proxy": "512m", "api_websocket": "1g",
}  # fmt: skip
REDIS = """\
exec docker-entrypoint.sh redis-server - <<EOF
requirepass $$REDIS_PASSWORD
dir /data
appendonly yes
appendfsync everysec
maxmemory 768mb
maxmemory-policy volatile-lru
tcp-keepalive 60
EOF
"""


@dataclass(frozen=True)
class Service:
    """One service of the compose file. `ports` are as written there."""

    name: str
    image: str
    profiles: tuple[str, ...]
    checked: bool


@dataclass(frozen=True)
class Override:
    """What ours says of each service; `images` and `limits` by service. `released`: containers of another are made anew."""

    images: dict[str, str] = field(default_factory=dict)
    limits: dict[str, dict[str, str]] = field(default_factory=dict)
    released: str = ""


def services(files: dict[str, bytes], profiles: tuple[str, ...]) -> tuple[Service, ...]:
    """Those that run with these profiles, in the file's order."""
    found = []
    for name, entry in (yaml.safe_load(files[COMPOSE]).get("services") or {}).items():
        needs = tuple(entry.get("profiles") or ())
        if not needs or set(needs) & set(profiles):
            found.append(Service(name, str(entry.get("image", "")), needs, "healthcheck" in entry))
    return tuple(found)


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


def override_text(running: tuple[Service, ...], wanted: Override) -> str:
    """The content of docker-compose.override.yaml."""
    document = {"services": {service.name: _service(service, wanted) for service in running}}
    head = "# steelyard: role dify; the official file beside it is untouched\n"
    return head + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120)


def _service(service: Service, wanted: Override) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if service.name in wanted.images:
        found["image"] = wanted.images[service.name]
    found["logging"] = LOGS
    found["labels"] = {"steelyard.release": wanted.released}  # files that they mount change without a trace otherwise
    limits = {**({"memory": MEMORY[service.name]} if service.name in MEMORY else {}), **wanted.limits.get(service.name, {})}
    if limits:
        found["deploy"] = {"resources": {"limits": limits, "reservations": {"memory": "64m"}}}
    if service.name in ADDRESSES and not service.checked:
        found["healthcheck"] = _check(ADDRESSES[service.name])
    if service.name == "plugin_daemon":
        found["ports"] = _Overriding([DEBUG_PORT])
    if service.name == "redis":
        # over standard input, so that the password is in no argv, of the server or of the health check
        found["command"] = _Overriding(["sh", "-c", REDIS])
        found["environment"] = {"REDIS_PASSWORD": "${REDIS_PASSWORD}"}
        test = ["CMD-SHELL", 'REDISCLI_AUTH="$$REDIS_PASSWORD" redis-cli ping | grep -q PONG']
        found["healthcheck"] = {"test": _Overriding(test), "interval": "5s", "timeout": "5s", "retries": 12}
    return found


def _check(address: str) -> dict[str, Any]:
    """By whichever of three programs the image has."""
    python = f"python3 -c 'import urllib.request; urllib.request.urlopen(\"{address}\", timeout=4)'"
    tried = f"curl -fsS -o /dev/null {address} || wget -q -O /dev/null {address} || {python}"
    return {"test": ["CMD-SHELL", tried], "interval": "5s", "timeout": "10s", "retries": 12, "start_period": "300s"}
