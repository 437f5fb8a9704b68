"""The Docker daemon's configuration: merged into its file, checked, and loaded by a reload or a restart as each key
needs.

Sources: moby daemon/reload.go for what a reload applies; features are reloaded, but the CDI driver is registered only
at the start, so `features/cdi` counts as one that needs a restart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from dataclasses import dataclass

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, FileWrite, Refusal
from steelyard.modules.facts.docker import FILE, OWNED, Docker, DockerState
from steelyard.modules.facts.unit import Unit
from steelyard.modules.operations.json_merge import JsonObject, NotJson, differing, merge, read_object, written

from .unit import gpu_risk, reload_command, reload_due, restart_command

UNIT = "docker.service"
DROP_IN = "/etc/systemd/system/docker.service.d/50-steelyard.conf"
RELOADABLE = frozenset(
    {
        "runtimes",
        "default-runtime",
        "debug",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "shutdown-timeout",
        "features",
        "labels",
        "insecure-registries",
        "registry-mirrors",
        "live-restore",
        "nri-opts",
    }
)
LABEL = "steelyard.config"  # the daemon tells its labels, and with them which file it loaded last
# a key that is a flag too stops the daemon at its next start
FLAGS = {
    "registry-mirrors": "registry-mirror",
    "insecure-registries": "insecure-registry",
    "labels": "label",
    "log-opts": "log-opt",
    "exec-opts": "exec-opt",
    "storage-opts": "storage-opt",
    "hosts": "host",
    "runtimes": "add-runtime",
}
CHECK = (
    "sh -c '! dockerd --help 2>&1 | grep -q -- --validate || "
    """dockerd --validate --config-file "$1" >/dev/null' check"""
)


def restart_part(config: JsonObject) -> JsonObject:
    """Return the part of the configuration that a running daemon takes only by a restart."""
    part = {key: value for key, value in config.items() if key not in RELOADABLE}
    cdi = (config.get("features") or {}).get("cdi")
    return {**part, "features": {"cdi": cdi}} if cdi is not None else part


def stamp_of(config: JsonObject) -> str:
    """Short hash of a configuration; changes with any value in it."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def drop_in(config: JsonObject) -> str:
    """The unit's drop-in: the process carries the hash of what it can only take at its start."""
    return f"# steelyard: role docker\n[Service]\nEnvironment=STEELYARD_CONFIG={stamp_of(restart_part(config))}\n"


def stamped(config: JsonObject) -> JsonObject:
    """The configuration with the label that tells which one the daemon has loaded."""
    return {**config, "labels": [*config.get("labels", []), f"{LABEL}={stamp_of(config)}"]}


def reported_config(info: JsonObject) -> JsonObject:
    """Return a daemon's own account of its configuration, under the keys of its file. Sets are sorted."""
    registries = info.get("RegistryConfig") or {}
    insecure = [name for name, entry in (registries.get("IndexConfigs") or {}).items() if not entry.get("Secure", True)]
    insecure += [
        block for block in registries.get("InsecureRegistryCIDRs") or [] if block not in ("127.0.0.0/8", "::1/128")
    ]
    return {
        "registry-mirrors": [mirror.rstrip("/") for mirror in registries.get("Mirrors") or []],
        "insecure-registries": sorted(insecure),
        "live-restore": bool(info.get("LiveRestoreEnabled")),
        "debug": bool(info.get("Debug")),
        "default-runtime": info.get("DefaultRuntime"),
        "log-driver": info.get("LoggingDriver"),
        "data-root": info.get("DockerRootDir"),
        "labels": sorted(info.get("Labels") or []),
        "runtimes": {name: entry.get("path") for name, entry in (info.get("Runtimes") or {}).items()},
    }


def unlike(wanted: JsonObject, info: JsonObject) -> dict[str, tuple[str, str]]:
    """Keys that the running daemon has otherwise than the file: declared and live, safe to print."""
    live = reported_config(info)
    differing_keys: dict[str, tuple[str, str]] = {}
    for key, value in live.items():
        if key not in wanted:
            continue
        declared = wanted[key]
        if key == "registry-mirrors":
            declared = [mirror.rstrip("/") for mirror in declared]
        elif key in ("labels", "insecure-registries"):
            declared = sorted(declared)
        elif key == "runtimes":
            declared = {name: entry.get("path") for name, entry in declared.items()}
            value = {name: path for name, path in value.items() if name in declared}
        if declared != value:
            differing_keys[key] = (json.dumps(declared), json.dumps(value))
    return differing_keys


def flags_in_the_way(config: JsonObject, arguments: tuple[str, ...]) -> list[str]:
    """Keys of ours that the daemon was also given as flags."""
    given = {word.partition("=")[0].lstrip("-") for word in arguments if word.startswith("-")}
    given |= {"host"} if "H" in given else set()
    return sorted(key for key in config if FLAGS.get(key, key) in given)


@dataclass(frozen=True)
class Loading:
    """Way in which a running daemon gets what the file says, and the words for it."""

    verb: str  # reload or restart
    why: tuple[str, str]
    reload_first: bool = False  # live-restore is on only after a reload, and spares the containers


def loading(wanted: JsonObject, stamp: str, current: DockerState) -> Loading | None:
    """Return how the daemon gets the file; None where it runs with it, or does not run at all."""
    if not current.info.get("ServerVersion"):
        return None
    keys = unlike(wanted, current.info)
    if current.stamp != stamp:
        spared = bool(current.info.get("LiveRestoreEnabled"))
        soon = not spared and wanted.get("live-restore") is True
        if not current.containers:
            effect = "no container runs"
        elif spared or soon:
            effect = f"{len(current.containers)} running containers stay: live-restore"
        else:
            effect = f"STOPS {len(current.containers)} running containers: {', '.join(current.containers)}"
        return Loading("restart", ("started with these keys", f"started with others; a restart, {effect}"), soon)
    restarting = [key for key in keys if key not in RELOADABLE]
    if keys:
        declared = "; ".join(f"{key} {values[0]}" for key, values in keys.items())
        live = "; ".join(f"{key} {values[1]}" for key, values in keys.items())
        return Loading("restart" if restarting else "reload", (declared, live))
    return None


def daemon_commands(
    config: JsonObject, current: DockerState, unit_reload: tuple[StringCommand, ...] = ()
) -> list[StringCommand]:
    """Return the commands from the live daemon to one that runs with the declared keys; what others wrote into the
    file stays.
    """
    live = read_object(current.file)
    if isinstance(live, NotJson):
        return [Refusal(f"{FILE} is not JSON: {live.why}")]
    refusal = _refusal(config, current)
    if refusal is not None:
        return [refusal]
    recorded = read_object(current.owned)
    owned = {} if isinstance(recorded, NotJson) else recorded
    # whatever became of the record, such a label is ours; two of them and the daemon does not start
    labels = [label for label in live.get("labels", []) if label.startswith(f"{LABEL}=")]
    owned = {**owned, "/labels": [*(owned.get("/labels") or []), *labels]} if labels else owned
    wanted = stamped(config)
    merged, now_owned = merge(live, wanted, owned)
    commands: list[StringCommand] = []
    if merged != live:
        keys = ", ".join(pointer[1:] for pointer in differing(live, merged))
        before = (current.file or "").encode()
        live_file = f"other values of {keys}" if current.file else "missing"
        commands.append(
            FileWrite(
                FILE,
                written(merged).encode(),
                mode="0644",
                user="root",
                group="root",
                live=live_file,
                before=before,
                check=CHECK,
            )
        )
    if now_owned != recorded:
        content = written(now_owned).encode()
        live_record = "another" if current.owned else "missing"
        commands.append(
            FileWrite(OWNED, content, mode="0644", user="root", group="root", live=live_record, before=None)
        )
    commands += unit_reload
    step = loading(merged, stamp_of(restart_part(config)), current)
    return commands + (_loading_commands(step) if step is not None else [])


def _refusal(config: JsonObject, current: DockerState) -> Refusal | None:
    """Return why the daemon would not start with this configuration; None where it would."""
    in_the_way = flags_in_the_way(config, current.arguments)
    if in_the_way:
        return Refusal(
            f"dockerd is given {', '.join(in_the_way)} as flags too; take them out of its unit or DOCKER_OPTS"
        )
    if config.get("live-restore") and (current.info.get("Swarm") or {}).get("LocalNodeState") == "active":
        return Refusal(
            "this daemon is in a swarm, and live-restore is not for swarms: declare `docker.daemon.live-restore: false`"
        )
    return None


def _loading_commands(step: Loading) -> list[StringCommand]:
    declared, live = step.why
    commands: list[StringCommand] = []
    if step.verb == "reload" or step.reload_first:
        commands.append(Change("systemctl reload", QuoteString(UNIT), subject=UNIT, declared=declared, live=live))
    if step.verb == "restart":
        # a daemon that refuses its configuration five times in a row is not started a sixth time
        commands.append(restart_command(UNIT, declared, live))
    return commands


@operation()
def daemon(config: JsonObject) -> Generator[StringCommand, None, None]:
    """daemon.json holds these keys beside those of others, and the daemon that runs has loaded them."""
    current = host.get_fact(Docker)
    unit = host.get_fact(Unit, unit=UNIT, mount="")
    due = bool(current.info) and reload_due((DROP_IN,), unit)
    commands = daemon_commands(config, current, (reload_command(UNIT, gpu_risk()),) if due else ())
    if not commands:
        host.noop("the daemon runs with the declared keys")
    yield from commands
