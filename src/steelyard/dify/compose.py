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
class ComposeService:
    """One service of the compose file. `ports` are as written there."""

    name: str
    image: str
    profiles: tuple[str, ...]
    checked: bool


@dataclass(frozen=True)
class Override:
    """The content of our override: `images` and `limits` by service.

    Containers of another release than `released` are made anew.
    """

    images: dict[str, str] = field(default_factory=dict)
    limits: dict[str, dict[str, str]] = field(default_factory=dict)
    released: str = ""


def compose_services(files: dict[str, bytes], profiles: tuple[str, ...]) -> tuple[ComposeService, ...]:
    """The services that run with these profiles, in the file's order."""
    running = []
    for name, entry in (yaml.safe_load(files[COMPOSE]).get("services") or {}).items():
        needs = tuple(entry.get("profiles") or ())
        if not needs or set(needs) & set(profiles):
            running.append(ComposeService(name, str(entry.get("image", "")), needs, "healthcheck" in entry))
    return tuple(running)


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
    if service.name == "plugin_daemon":
        fields["ports"] = _Overriding([DEBUG_PORT])
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
