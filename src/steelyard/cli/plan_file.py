"""A plan in a file, from the command line's side: `plan -o FILE` and `apply FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.errors import PlanMoved
from steelyard.render.text import hosts_named

if TYPE_CHECKING:
    from steelyard.engine.plan import Plan
    from steelyard.engine.saved import SavedPlan
    from steelyard.engine.session import Session
    from steelyard.render.screen import Screen

    from .work import Wanted


def _password(wanted: Wanted) -> bytes:
    from steelyard.inventory.password import password_file

    path = password_file(wanted.inventory, wanted.vault_password_file)
    return path.read_bytes() if path is not None else b""


def save_plan(path: Path, wanted: Wanted, opened: Session, plan: Plan, screen: Screen) -> None:
    """Write what `apply FILE` will carry out. A plan with a host that could not be looked at is none."""
    import base64
    import os

    from steelyard.engine.saved import SavedPlan, sealed, write_plan
    from steelyard.origin import now
    from steelyard.render.text import plan_lines, summary

    if plan.errors:
        screen.note(f"the plan is not saved: {plan.errors[0]}")
        return
    salt = base64.b64encode(os.urandom(16)).decode()
    unknown = {host.host: [value.what for value in host.unknown] for host in plan.hosts if host.unknown}
    hosts = sealed(opened, plan, salt, _password(wanted))
    masked = {
        name: [{**task, "commands": [screen.redactor.mask(line) for line in task["commands"]]} for task in tasks]
        for name, tasks in hosts.items()
    }
    saved = SavedPlan(str(wanted.inventory), wanted.limit, str(wanted.deploy), now(), salt, masked, unknown)
    text = "\n".join([*plan_lines(plan, verbose=True), summary(plan, "would change")])
    write_plan(path, saved, screen.redactor.mask(text))
    screen.note(f"saved to {path}; `steelyard apply {path}` does exactly this, or nothing")


def read_saved(path: Path) -> SavedPlan:
    """Raises PlanFileWrong."""
    from steelyard.engine.saved import read_plan

    return read_plan(path)


def check_plan(path: Path, saved: SavedPlan, wanted: Wanted, opened: Session, plan: Plan, screen: Screen) -> None:
    """Raises PlanMoved, after the differences were shown, where anything else would happen now."""
    from steelyard.engine.saved import moved, sealed

    lines = moved(saved, sealed(opened, plan, saved.salt, _password(wanted)))
    lines += [f"! {error}" for error in plan.errors]
    if lines:
        for line in lines:
            screen.note(line)
        names = sorted({line.split()[1].rstrip(":") for line in lines})
        raise PlanMoved(where=str(path), differences=hosts_named(names))
