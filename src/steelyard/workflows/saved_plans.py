"""A plan in a file: what `plan -o FILE` writes, and how `apply FILE` compares it with what would happen now."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.engine.plan_totals import plan_totals
from steelyard.engine.run_owner import now
from steelyard.engine.saved import SavedPlan, SealedTask, differences, sealed, write_plan
from steelyard.events import Emit, Step
from steelyard.inventory.password import password_file

if TYPE_CHECKING:
    from steelyard.engine.plan import Plan
    from steelyard.engine.session import Session

    from .run_context import RunOptions


def save_plan(
    path: Path,
    options: RunOptions,
    session: Session,
    plan: Plan,
    text: str,
    mask: Callable[[str], str],
    emit: Emit,
) -> None:
    """Write what `apply FILE` will carry out, with `text` for people. A plan of a host that failed is not saved.

    `mask` takes secrets out of a text. Raises FileNotWritten.
    """
    if plan.errors:
        emit(Step(f"the plan is not saved: {plan.errors[0]}"))
        return
    salt = base64.b64encode(os.urandom(16)).decode()
    unknown = {host.host: [value.what for value in host.unknown] for host in plan.hosts if host.unknown}
    masked = {
        name: [
            SealedTask(
                code=task["code"],
                commands=list(map(mask, task["commands"])),
                effects=task.get("effects", []),
                seal=task["seal"],
            )
            for task in tasks
        ]
        for name, tasks in sealed(session, plan, salt, _password(options)).items()
    }
    about = (str(options.inventory), options.limit, str(options.deploy), now(), salt)
    totals = plan_totals(plan).as_json()
    saved = SavedPlan(*about, masked, unknown, totals, options.pruning, options.with_gateway)
    write_plan(path, saved, mask(text))
    emit(Step(f"saved to {path}; `steelyard apply {path}` does exactly this, or nothing"))


def differences_now(saved: SavedPlan, options: RunOptions, session: Session, plan: Plan) -> list[str]:
    """The differences between a saved plan and what would happen now, a line each, `MARK HOST: ...`; none where it is
    the same.
    """
    lines = differences(saved, sealed(session, plan, saved.salt, _password(options)))
    return lines + [f"! {error}" for error in plan.errors]


def _password(options: RunOptions) -> bytes:
    path = password_file(options.inventory, options.vault_password_file)
    return path.read_bytes() if path is not None else b""
