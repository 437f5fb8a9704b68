"""Writes the generated pages of docs/reference; `--check` says which are stale and how to mend that.

Truth: settings from the pydantic models, commands from the parser's own tree, errors from their samples, findings from
the roles.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args, get_origin

import yaml
from completion_table import completion_table
from connections_page import connections_page
from modules_page import modules_page
from operations_page import operations_page
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dify_double.not_imitated import NOT_IMITATED, NOT_RECORDED
from dify_double.router import Console, fresh_state
from steelyard import errors
from steelyard.api.names import in_words
from steelyard.cli.tree import command_tree
from steelyard.drift.exceptions import DriftException
from steelyard.errors import SteelyardError, show
from steelyard.hardware.gpu_health import CHECKS
from steelyard.site.schema import DifyEndpoint, DifyModel, Model, ModelsFile, Serve
from steelyard.site.validation import role_settings
from steelyard_host.causes.rule import OTHERS, STEPS
from steelyard_host.causes.rules import SAID

ROOT = Path(__file__).parent.parent
HEAD = "<!-- written by `make docs`; edits are lost -->\n\n"
EXAMPLES = ROOT / "docs/reference/examples.yml"


def paragraph(documented: type) -> str:
    """The docstring of a class as one paragraph."""
    return " ".join((documented.__doc__ or "").split())


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
        lines.append(f"| `{name}` | {default} | {field.description}{''.join(shapes(field))} |")
    return "\n".join(lines)


def shapes(field: FieldInfo) -> list[str]:
    """What names and values of a setting may consist of, where their type says it."""
    if get_origin(field.annotation) is dict:
        keys, values = get_args(field.annotation)
        parts = (("Names", patterns(keys)), ("Values", patterns(values)))
    else:
        parts = (("Allowed", patterns(field.annotation, field.metadata)),)
    return [f" {label}: {words}." for label, allowed in parts for words in map(in_words, allowed) if words is not None]


def patterns(annotation: object, metadata: Sequence[object] = ()) -> Iterator[str]:
    """Patterns of a type, and of the types that it is made of, down to other sections."""
    for entry in (*metadata, *getattr(annotation, "__metadata__", ())):
        pattern = getattr(entry, "pattern", None)
        if isinstance(pattern, str):
            yield pattern
        elif isinstance(entry, FieldInfo):
            yield from patterns(None, entry.metadata)
    for part in get_args(annotation):
        yield from patterns(part)


def nested(model: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    """Fields that are models themselves, or maps and lists of models, and theirs; by name."""
    settings = []
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        kinds += [inner for kind in kinds for inner in get_args(kind)]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                key = f"{name}.NAME" if get_origin(field.annotation) is dict else name
                settings += [(key, kind), *((f"{key}.{inner}", model) for inner, model in nested(kind))]
    return list(dict.fromkeys(settings))


def settings_page() -> str:
    parts = [HEAD + "# Settings\n\nUnknown keys are errors; each page of a role says what its settings do.\n"]
    parts.append("## models.yml\n")
    for title, model in (
        ("", ModelsFile),
        ("models.NAME", Model),
        ("models.NAME.serve", Serve),
        ("models.NAME.dify", DifyModel),
        ("models.NAME.dify.further.NAME", DifyEndpoint),
    ):
        parts.append((f"### `{title}`\n\n" if title else "") + f"{paragraph(model)}\n\n{table(model)}\n")
    for section, role in sorted(role_settings().items()):
        parts.append(f"## {section}\n\n{paragraph(role)}\n\n{table(role)}\n")
        for name, inner in nested(role):
            parts.append(f"### `{section}.{name}`\n\n{paragraph(inner)}\n\n{table(inner)}\n")
    parts.append(f"## drift-exceptions.yml\n\nA list. {paragraph(DriftException)}\n\n{table(DriftException)}\n")
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
    """Every command of the tree with its help and its example, which tests run."""
    examples = yaml.safe_load(EXAMPLES.read_text())
    parts = [
        HEAD
        + "# Commands\n\nExamples are as in a folder with one inventory, `inventories/prod`; tests run each of them.\n"
    ]
    for command in command_tree():
        title = " ".join(("steelyard", *command.argv))
        parts.append(f"## `{title}`\n\n```text\n{command.help}\n```\n")
        if not command.is_group:
            parts.append(f"Example:\n\n```console\n$ {examples[' '.join(command.argv)]['run']}\n```\n")
    return "\n".join(parts)


def errors_page() -> str:
    parts = [HEAD + "# Errors\n\nEvery failure that a user can cause, with a sample of what is shown.\n"]
    for name in sorted(errors.__all__):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, SteelyardError) and kind is not SteelyardError:
            parts.append(
                f"## {name}\n\n{paragraph(kind)} Exit {int(kind.exit)}.\n\n```text\n{show(kind(**kind.sample))}\n```\n"
            )
    return "\n".join(parts)


def findings_page() -> str:
    """Finding codes, `role.task` and `role.check`: stable as long as a task keeps its name."""
    rows = []
    for path in sorted((ROOT / "roles").glob("*/tasks.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if (
                        keyword.arg == "name"
                        and isinstance(keyword.value, ast.Constant)
                        and " " in str(keyword.value.value)
                    ):
                        rows.append((path.parent.name, str(keyword.value.value)))
    checks = []
    for path in sorted((ROOT / "roles").glob("*/checks.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "live_check.report":
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


def causes_page() -> str:
    """Codes of causes with what is said and the fix, from the rules themselves; a place that is filled is in
    capitals.
    """
    rows: dict[tuple[str, str, str], None] = {}
    for rule in (*STEPS, *SAID):
        rows.setdefault((rule.code, rule.sentence, rule.fix))
    for code, words in OTHERS.items():
        rows.setdefault((code, words.sentence, words.fix))
    lines = [
        HEAD
        + (
            "# Causes\n\nWhy an engine did not start, or died: [how they are "
            "found](../how-it-works/causes.md). `serve` is a model's in models.yml.\n"
        )
    ]
    lines += ["| code | what is said | fix |", "|---|---|---|"]
    for code, *texts in sorted(rows):
        said, fix = (
            re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), text.replace("{{", "<").replace("}}", ">"))
            for text in texts
        )
        lines.append(f"| `{code}` | {said} | {fix} |".replace("<", "{").replace(">", "}"))
    return "\n".join(lines) + "\n"


DOUBLE_INTRO = """# The simulated Dify

The lab's Dify, and that of the tests, is a contract double of the console API and of the service API of 1.16.1
(`src/dify_double`). Two sets of exchanges recorded from the real one are replayed against it, in order and from an
empty state; status, media type, cookies, shape and values are compared, less what the table below names. What the sets
are, which server made them, and what the second one overrules in the first, is told in
`tests/data/dify-1.16.1-real/README.md`.

| switch | what it does |
|---|---|
| `DOUBLE_RELEASE` | release of Dify: how one logs in and asks for the workspace, what an uninstall can keep |
| `DOUBLE_DAEMON` | release of the plugin daemon, if not the one of `DOUBLE_RELEASE`: what an upgrade takes |
| `INIT_PASSWORD`, `MODEL_LB_ENABLED`, `CONSOLE_WEB_URL` | as in the real one |
| `install_fails` in its state | the words with which every install fails that begins while they are there |

## What it does instead

Of a path in this table only the kind of value is compared: null, number, text, object or list.
"""


def double_page() -> str:
    console = Console(fresh_state(), lambda *_: None)
    lines = [HEAD + DOUBLE_INTRO]
    lines += ["| path in an answer | what the double does instead |", "|---|---|"]
    lines += [f"| `{pattern}` | {text} |" for pattern, text in NOT_IMITATED.items()]
    lines += ["", "## Routes", ""]
    lines += ["Each of them has recorded answers. Of these there is none, and they answer 404:", ""]
    lines += [f"- `{pattern}`: {text}" for pattern, text in NOT_RECORDED.items()]
    for prefix, routes in (("/console/api", console.routes), ("/v1", console.service.routes)):
        lines += ["", f"| below `{prefix}` | methods |", "|---|---|"]
        methods: dict[str, list[str]] = {}
        for route in routes:
            methods.setdefault(re.sub(r":[a-z]+\}", "}", route.path), []).append(route.method)
        lines += [f"| `{path}` | {', '.join(sorted(names))} |" for path, names in sorted(methods.items())]
    return "\n".join(lines) + "\n"


def completion_page() -> str:
    return json.dumps(completion_table(), indent=1, ensure_ascii=False) + "\n"


PAGES = {
    "src/steelyard/completion/table.json": completion_page,
    "docs/contributing/modules.md": lambda: HEAD + modules_page(),
    "docs/reference/settings.md": settings_page,
    "docs/reference/connections.md": lambda: HEAD + connections_page(),
    "docs/reference/commands.md": commands_page,
    "docs/reference/errors.md": errors_page,
    "docs/reference/causes.md": causes_page,
    "docs/reference/findings.md": findings_page,
    "docs/reference/operations.md": lambda: HEAD + operations_page(),
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
