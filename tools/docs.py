"""Writes the generated pages of docs/reference; `--check` says which are stale and how to mend that.

Truth: settings from the pydantic models, commands from their help, errors from their samples, findings from the roles.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from steelyard import errors
from steelyard.drift.exceptions import DriftException
from steelyard.errors import SteelyardError, show
from steelyard.gpus.health import CHECKS
from steelyard.lab.dify_double.limits import NOT_IMITATED
from steelyard.settings import role_settings
from steelyard.site import DifyModel, Model, Models, Serve

ROOT = Path(__file__).parent.parent
HEAD = "<!-- written by `make docs`; edits are lost -->\n\n"
COMMANDS = ("", "init", "doctor", "preflight", "plan", "apply", "drift", "status", "rollout", "rollback", "inventory", "models", "models add", "models sign", "models fit", "models push", "models ls", "models verify", "models warm", "models cache", "models shard", "models diff", "models export", "models keep", "models rm", "models gc", "models prune", "bench", "bench load", "lock", "lock show", "lock break", "mirror", "mirror images", "mirror images sync", "dify", "dify ls", "lab", "lab up", "lab down",
            "lab status", "lab ssh", "lab exec", "lab snapshot")  # fmt: skip


def table(model: type[BaseModel]) -> str:
    """One line a setting: name, default, meaning."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        if field.default_factory is not None:
            default = "empty"
        elif field.default is PydanticUndefined:
            default = "required"
        else:
            default = f"`{field.default}`"
        lines.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(lines)


def nested(model: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    """Fields that are models themselves, or maps and lists of models; by name."""
    found = []
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        kinds += [inner for kind in kinds for inner in get_args(kind)]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found.append((f"{name}.NAME" if get_origin(field.annotation) is dict else name, kind))
    return found


def settings_page() -> str:
    parts = [HEAD + "# Settings\n\nUnknown keys are errors; each page of a role says what its settings do.\n"]
    parts.append("## models.yml\n")
    for title, model in (("", Models), ("models.NAME", Model), ("models.NAME.serve", Serve), ("models.NAME.dify", DifyModel)):
        parts.append((f"### `{title}`\n\n" if title else "") + f"{model.__doc__}\n\n{table(model)}\n")
    for section, role in sorted(role_settings().items()):
        parts.append(f"## {section}\n\n{role.__doc__}\n\n{table(role)}\n")
        for name, inner in nested(role):
            parts.append(f"### `{section}.{name}`\n\n{inner.__doc__}\n\n{table(inner)}\n")
    parts.append(f"## drift-exceptions.yml\n\nA list. {DriftException.__doc__}\n\n{table(DriftException)}\n")
    parts.append("## Connections\n\nHost variables beside Ansible's own.\n\n" + connection_table() + "\n")
    return "\n".join(parts)


def connection_table() -> str:
    """Our host variables, from the connector's own descriptions."""
    from steelyard.modules.connectors.ssh import SteelyardConnector

    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, meta in sorted(SteelyardConnector.data_meta.items()):
        if name.startswith("steelyard_"):
            lines.append(f"| `{name}` | `{meta.default}` | {meta.description}. |")
    return "\n".join(lines)


def commands_page() -> str:
    program = str(Path(sys.executable).parent / "steelyard")
    parts = [HEAD + "# Commands\n"]
    for command in COMMANDS:
        shown = subprocess.run(
            [program, *command.split(), "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "100"},
        ).stdout
        text = "\n".join(line.rstrip() for line in shown.strip().splitlines())
        parts.append(f"## `{f'steelyard {command}'.strip()}`\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def errors_page() -> str:
    parts = [HEAD + "# Errors\n\nEvery failure that a user can cause, with a sample of what is shown.\n"]
    for name in sorted(errors.__all__):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, SteelyardError) and kind is not SteelyardError:
            parts.append(f"## {name}\n\n{kind.__doc__} Exit {int(kind.exit)}.\n\n```text\n{show(kind(**kind.sample))}\n```\n")
    return "\n".join(parts)


def findings_page() -> str:
    """Finding codes, `role.task` and `role.check`: stable as long as a task keeps its name."""
    rows = []
    for path in sorted((ROOT / "roles").glob("*/tasks.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg == "name" and isinstance(keyword.value, ast.Constant) and " " in str(keyword.value.value):
                        rows.append((path.parent.name, str(keyword.value.value)))
    checks = []
    for path in sorted((ROOT / "roles").glob("*/checks.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "report":
                code = node.args[0]
                if isinstance(code, ast.JoinedStr):  # one per check of a GPU's health
                    checks += [f"nvidia_driver.gpu-{check}" for check in CHECKS]
                else:
                    checks.append(str(getattr(code, "value", "")))
    roles = {
        "package_client": ("Point apt at the mirror", "Point pip at the mirror"),
        "registry_client": ("Point containerd at the mirrors", "Point podman at the mirrors"),
    }
    lines = [HEAD + "# Finding codes\n\nWhat `drift` reports: `role.task`. CI may suppress and count by code.\n"]
    lines += ["| code | task |", "|---|---|"]
    for folder, name in rows:
        role = next((role for role, names in roles.items() if name in names), folder)
        words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        lines.append(f"| `{role}.{words}` | {name} |")
    lines += ["", "Live checks, which drift makes beside the tasks:", "", "| code |", "|---|"]
    lines += [f"| `{code}` |" for code in sorted(set(checks))]
    lines += ["", "Of the controller: `exceptions.expired`, an exception whose last day is over."]
    return "\n".join(lines) + "\n"


def double_page() -> str:
    lines = [HEAD + "# The simulated Dify\n\nThe lab's Dify is a contract double of the console API of 1.16.1. A test replays every "
             "recorded exchange of the real one and compares status, shape and values, less what this table names.\n"]  # fmt: skip
    lines += ["| path in an answer | what the double does instead |", "|---|---|"]
    lines += [f"| `{pattern}` | {text} |" for pattern, text in NOT_IMITATED.items()]
    return "\n".join(lines) + "\n"


PAGES = {
    "docs/reference/settings.md": settings_page,
    "docs/reference/commands.md": commands_page,
    "docs/reference/errors.md": errors_page,
    "docs/reference/findings.md": findings_page,
    "docs/reference/simulated-dify.md": double_page,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is stale")
    given = parser.parse_args()
    stale = []
    for name, make in PAGES.items():
        path, text = ROOT / name, make()
        if path.exists() and path.read_text() == text:
            continue
        if given.check:
            stale.append(name)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {name}")
    if stale:
        sys.exit(f"stale: {', '.join(stale)}; run `make docs`")


if __name__ == "__main__":
    main()
