"""A Docker daemon as it runs now beside its file on disk; one exec. Source: docker info, /proc, daemon.json.

A stopped daemon is never asked: its socket would start it.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from steelyard_host import paths

FILE = "/etc/docker/daemon.json"
OWNED = paths.CONFIGURATION + "/docker-owned.json"


@dataclass(frozen=True)
class DockerState:
    """`info` is what the running daemon says of itself, empty where none runs; `stamp` is STEELYARD_CONFIG as
    started.
    """

    file: str | None
    owned: str | None
    info: dict[str, Any] = field(default_factory=dict)
    containers: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    stamp: str | None = None


def _decoded(text: str | None) -> str | None:
    return None if text in (None, "none") else base64.b64decode(text or "", validate=True).decode()


def parse_docker(lines: list[str]) -> DockerState:
    """`key=value` lines to a state. Raises FactProcessError."""
    try:
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        info = json.loads(values.get("info") or "{}")
        arguments = tuple(word for word in (_decoded(values.get("arguments", "none")) or "").split("\0") if word)
        names = tuple(sorted(values.get("containers", "").split()))
        stamp = values.get("stamp") or None
        return DockerState(_decoded(values["file"]), _decoded(values["owned"]), info, names, arguments, stamp)
    except (KeyError, ValueError, binascii.Error) as error:
        raise FactProcessError(f"docker: cannot read {lines}") from error


class Docker(FactBase[DockerState]):
    """File, record of ownership, and what the daemon that runs has loaded."""

    def command(self) -> StringCommand:
        files = StringCommand(
            "for f in file=" + FILE,
            "owned=" + OWNED,
            '; do p=${f#*=}; if test -f $p; then echo "${f%%=*}=$(base64 -w0 $p)"; else echo "${f%%=*}=none"; fi; done',
        )
        running = StringCommand(
            "p=$(systemctl show docker.service --property=MainPID --value 2>/dev/null);",
            'if test "${p:-0}" != 0 && command -v docker >/dev/null; then',
            "echo \"info=$(timeout 20 docker info --format '{{json .}}' 2>/dev/null)\";",
            "echo \"containers=$(timeout 20 docker ps --format '{{.Names}}' | tr '\\n' ' ')\";",
            'echo "arguments=$(base64 -w0 /proc/$p/cmdline)";',
            "tr '\\0' '\\n' </proc/$p/environ | sed -n s/^STEELYARD_CONFIG=/stamp=/p; fi",
        )
        return StringCommand(files, ";", running)

    def process(self, output: list[str]) -> DockerState:
        return parse_docker(output)

    @staticmethod
    def default() -> DockerState:
        return DockerState(None, None)


@dataclass(frozen=True)
class GpuContainer:
    """A running container with GPUs. `at_risk`: a daemon-reload of systemd takes them away from it."""

    name: str
    at_risk: bool
    has_gpus: bool


def at_risk(inspected: dict[str, Any], cgroup_driver: str) -> bool:
    """GPUs by the runtime's hook under systemd's cgroup driver: runc does not know the devices. CDI is told to runc.

    Source: nvidia-container-toolkit issue 48 and its documentation, "troubleshooting".
    """
    config = inspected["HostConfig"]
    requests = config.get("DeviceRequests") or []
    by_cdi = any(request.get("Driver") == "cdi" for request in requests)
    visible = {
        entry.partition("=")[2] for entry in inspected["Config"].get("Env") or [] if entry.startswith("NVIDIA_VISIBLE")
    }
    by_hook = bool(requests) or (config.get("Runtime") == "nvidia" and bool(visible - {"void", "none", ""}))
    return by_hook and not by_cdi and visible != {"void"} and cgroup_driver == "systemd" and not config.get("Devices")


def parse_containers(lines: list[str]) -> tuple[GpuContainer, ...]:
    """The cgroup driver, then one JSON array of `docker inspect`, then `lost NAME` lines. Raises FactProcessError."""
    if not lines:
        return ()
    try:
        lost = {line.split(" ", 1)[1] for line in lines if line.startswith("lost ")}
        document = json.loads("".join(line for line in lines[1:] if not line.startswith("lost ")) or "[]")
        containers = [
            GpuContainer(entry["Name"].lstrip("/"), at_risk(entry, lines[0]), entry["Name"].lstrip("/") not in lost)
            for entry in document
        ]
        affected = (container for container in containers if container.at_risk or not container.has_gpus)
        return tuple(sorted(affected, key=lambda container: container.name))
    except (KeyError, ValueError, TypeError) as error:
        raise FactProcessError(f"containers: cannot read {lines[:3]}") from error


class GpuContainers(FactBase[tuple[GpuContainer, ...]]):
    """Running containers whose GPUs depend on the runtime's hook; with `look`, whether each still sees them."""

    def command(self, look: bool) -> StringCommand:
        asked = StringCommand(
            "if systemctl -q is-active docker.service && command -v docker >/dev/null; then",
            "docker info --format '{{.CgroupDriver}}'; ids=$(docker ps -q);",
            'if test -n "$ids"; then docker inspect $ids | tr "\\n" " "; echo;',
        )
        if look:
            tried = "nvidia-smi -L 2>&1 | grep -q 'Failed to initialize NVML'"
            inside = StringCommand("timeout 10 docker exec $n sh -c", QuoteString(tried))
            asked = StringCommand(
                asked, "for n in $(docker ps --format '{{.Names}}'); do", inside, '&& echo "lost $n"; done;'
            )
        return StringCommand(asked, "fi; fi; true")

    def process(self, output: list[str]) -> tuple[GpuContainer, ...]:
        return parse_containers(output)

    @staticmethod
    def default() -> tuple[GpuContainer, ...]:
        return ()
