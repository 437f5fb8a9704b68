"""A plan in a file, and whether what would change now is still exactly that.

The file is for people and for `apply FILE`: what is shown, and for each command a keyed hash of all of it, the parts
that are not shown too. The key is made of the vault password where there is one, so a secret cannot be guessed from it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.host import Host

from steelyard.errors import FileNotWritten, PlanFileWrong

from .plan import HostPlan, Plan
from .session import Session

FORMAT = 1


@dataclass(frozen=True)
class SavedPlan:
    """What `plan -o` wrote. `hosts` maps a host to its tasks: code, lines for people, seal."""

    inventory: str
    limit: str
    deploy: str
    made: str
    salt: str
    hosts: dict[str, list[dict[str, Any]]]
    unknown: dict[str, list[str]]


def sealed(session: Session, plan: Plan, salt: str, password: bytes) -> dict[str, list[dict[str, Any]]]:
    """Tasks of each host that has any, with their seals."""
    key = hashlib.scrypt(password, salt=base64.b64decode(salt), n=2**12, r=8, p=1)
    hosts = {host.name: host for host in session.state.inventory}
    return {found.host: list(_tasks(session, hosts[found.host], found, key)) for found in plan.hosts if found.tasks}


def _tasks(session: Session, host: Host, plan: HostPlan, key: bytes) -> Iterator[dict[str, Any]]:
    changing = [op_hash for op_hash in host.op_hash_order if session.commands.get((host.name, op_hash))]
    for task, op_hash in zip(plan.tasks, changing, strict=True):
        raw = "\0".join(_raw(command) for command in session.commands[host.name, op_hash])
        lines = [f"{command.text[:200]}  [{command.live} -> {command.declared}]" for command in task.commands]
        seal = hmac.new(key, f"{task.code}\0{raw}".encode(), hashlib.sha256).hexdigest()
        yield {"code": task.code, "commands": lines, "seal": seal}


def _raw(command: PyinfraCommand) -> str:
    """All of a command, hidden values and standard input too; of a call what it says it changes."""
    if isinstance(command, StringCommand):
        return command.get_raw_value() + "\0" + str(command.connector_arguments.get("_stdin") or "")
    parts = (getattr(command, name, "") for name in ("subject", "declared", "live", "src", "dest"))
    return type(command).__name__ + "\0" + "\0".join(map(str, parts))


def write_plan(path: Path, saved: SavedPlan, text: str) -> None:
    """Readable by this user only. Raises FileNotWritten."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"steelyard_plan": FORMAT, **vars(saved), "text": text.splitlines()}, file, indent=1)
            file.write("\n")
        path.chmod(0o600)
    except OSError as error:
        raise FileNotWritten(where=str(path), why=error.strerror or str(error)) from error


def read_plan(path: Path) -> SavedPlan:
    """Raises PlanFileWrong."""
    try:
        found = json.loads(path.read_text())
        if found["steelyard_plan"] != FORMAT:
            raise PlanFileWrong(where=str(path), why=f"format {found['steelyard_plan']}, and this version reads {FORMAT}")
        return SavedPlan(**{name: found[name] for name in SavedPlan.__dataclass_fields__})
    except OSError as error:
        raise PlanFileWrong(where=str(path), why=error.strerror or str(error)) from error
    except (ValueError, TypeError, KeyError) as error:
        raise PlanFileWrong(where=str(path), why="it is torn, or of another program") from error


def _numbered(tasks: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """Tasks by code, and by their number among those of the same code: a task in a loop has one for each turn."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for task in tasks:
        number = sum(1 for code, _ in found if code == task["code"])
        found[task["code"], number] = task
    return found


def moved(saved: SavedPlan, hosts: dict[str, list[dict[str, Any]]]) -> list[str]:
    """What differs, a line each: `-` was planned and would not happen now, `+` would happen and was not planned."""
    lines = []
    for name in sorted({*saved.hosts, *hosts}):
        before, after = _numbered(saved.hosts.get(name, [])), _numbered(hosts.get(name, []))
        for key in [*before, *(key for key in after if key not in before)]:
            old, new, code = before.get(key), after.get(key), key[0]
            if old is not None and new is not None and old["seal"] == new["seal"]:
                continue
            lines += [f"- {name}: {code}: {line}" for line in (old or {}).get("commands", [])]
            lines += [f"+ {name}: {code}: {line}" for line in (new or {}).get("commands", [])]
            if old and new and old["commands"] == new["commands"]:
                lines[-1] += "  (the part that is not shown differs)"
    return lines
