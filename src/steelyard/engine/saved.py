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
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.host import Host

from steelyard.api.change import Effect
from steelyard.errors import FileNotWritten, PlanFileWrong

from .plan import HostPlan, Plan
from .session import Session

FORMAT = 1


class SealedEffect(TypedDict):
    """Effect of a command in a plan file on its thing, and for how many seconds clients may wait; null: not known."""

    effect: str
    outage_s: float | None


class SealedTask(TypedDict):
    """A task in a plan file: its code, its commands as people read them, and the keyed hash of all of them.

    `effects` of the commands, in their order; files of before have none.
    """

    code: str
    commands: list[str]
    effects: NotRequired[list[SealedEffect]]
    seal: str


@dataclass(frozen=True)
class SavedPlan:
    """Plan file as `plan -o` writes it. `hosts` maps a host to its tasks: code, lines for people, effects, seal.

    `totals` are what it comes to, as `--json` has them; empty in files of before.
    """

    inventory: str
    limit: str
    deploy: str
    made: str
    salt: str
    hosts: dict[str, list[SealedTask]]
    unknown: dict[str, list[str]]
    totals: dict[str, object] = field(default_factory=dict)
    pruning: bool = False
    with_gateway: bool = False


def sealed(session: Session, plan: Plan, salt: str, password: bytes) -> dict[str, list[SealedTask]]:
    """Return the tasks of each host that has any, with their seals."""
    key = hashlib.scrypt(password, salt=base64.b64decode(salt), n=2**12, r=8, p=1)
    hosts = {host.name: host for host in session.state.inventory}
    return {
        planned.host: list(_tasks(session, hosts[planned.host], planned, key))
        for planned in plan.hosts
        if planned.tasks
    }


def _tasks(session: Session, host: Host, plan: HostPlan, key: bytes) -> Iterator[SealedTask]:
    changing = [op_hash for op_hash in host.op_hash_order if session.commands.get((host.name, op_hash))]
    for task, op_hash in zip(plan.tasks, changing, strict=True):
        raw = "\0".join(_raw(command) for command in session.commands[host.name, op_hash])
        lines = [
            f"{'' if command.effect is Effect.CHANGE else f'{command.effect}: '}{command.text[:200]}  "
            f"[{command.live} -> {command.declared}]"
            for command in task.commands
        ]
        effects = [SealedEffect(effect=str(command.effect), outage_s=command.outage_s) for command in task.commands]
        seal = hmac.new(key, f"{task.code}\0{raw}".encode(), hashlib.sha256).hexdigest()
        yield {"code": task.code, "commands": lines, "effects": effects, "seal": seal}


def _raw(command: PyinfraCommand) -> str:
    """Return all of a command, hidden values and standard input too; of a call what it says it changes."""
    if isinstance(command, StringCommand):
        return command.get_raw_value() + "\0" + str(command.connector_arguments.get("_stdin") or "")
    parts = (getattr(command, name, "") for name in ("subject", "declared", "live", "src", "dest"))
    return type(command).__name__ + "\0" + "\0".join(map(str, parts))


def write_plan(path: Path, saved: SavedPlan, text: str) -> None:
    """Write a plan file that only this user can read. Raises FileNotWritten."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"steelyard_plan": FORMAT, **vars(saved), "text": text.splitlines()}, file, indent=1)
            file.write("\n")
        path.chmod(0o600)
    except OSError as error:
        raise FileNotWritten(where=str(path), why=error.strerror or str(error)) from error


def read_plan(path: Path) -> SavedPlan:
    """Read a plan file. Raises PlanFileWrong."""
    try:
        stored = json.loads(path.read_text())
        if stored["steelyard_plan"] != FORMAT:
            raise PlanFileWrong(
                where=str(path), why=f"format {stored['steelyard_plan']}, and this version reads {FORMAT}"
            )
        return SavedPlan(**{name: stored[name] for name in SavedPlan.__dataclass_fields__ if name in stored})
    except OSError as error:
        raise PlanFileWrong(where=str(path), why=error.strerror or str(error)) from error
    except (ValueError, TypeError, KeyError) as error:
        raise PlanFileWrong(where=str(path), why="it is torn, or of another program") from error


def _numbered(tasks: list[SealedTask]) -> dict[tuple[str, int], SealedTask]:
    """Return tasks by code, and by their number among those of the same code: a task in a loop has one per turn."""
    numbered: dict[tuple[str, int], SealedTask] = {}
    for task in tasks:
        number = sum(1 for code, _ in numbered if code == task["code"])
        numbered[task["code"], number] = task
    return numbered


def differences(saved: SavedPlan, hosts: dict[str, list[SealedTask]]) -> list[str]:
    """Return what differs, a line each: `-` was planned and would not happen now, `+` would happen and was not."""
    lines = []
    for name in sorted({*saved.hosts, *hosts}):
        before, after = _numbered(saved.hosts.get(name, [])), _numbered(hosts.get(name, []))
        for key in [*before, *(key for key in after if key not in before)]:
            old, new, code = before.get(key), after.get(key), key[0]
            if old is not None and new is not None and old["seal"] == new["seal"]:
                continue
            lines += [f"- {name}: {code}: {line}" for line in (old["commands"] if old else ())]
            lines += [f"+ {name}: {code}: {line}" for line in (new["commands"] if new else ())]
            if old and new and old["commands"] == new["commands"]:
                lines[-1] += "  (the part that is not shown differs)"
    return lines
