"""Writes docs/reference/operations.md: every operation and fact, what a caller gives, and an example that was run."""

from __future__ import annotations

import dataclasses
import inspect
import pprint
from itertools import groupby
from typing import Any, get_args

from module_examples import (
    CASES,
    MODULES,
    Example,
    FactExample,
    Member,
    Outcome,
    meaning,
    members,
    read_examples,
    run_fact,
    run_operation,
)

from steelyard.engine.plan import shown_command
from steelyard.render.text import command_lines

KINDS = {"operations": "Operation", "facts": "Fact"}
INTRO = """# Operations and facts

These are the parts that a role, or a deploy of your own, may call. An operation compares what is declared with what is
there, and yields commands only for what differs; a fact is one read-only command and a parser. Every call of an
operation has a `name`: it is the title of the task in plans, and a finding's code is made from it. pyinfra's own
arguments, such as `_sudo`, may be given as well.

Each example was run as it stands while this page was written, and tests run it again. Below an operation's call is what
`steelyard plan --verbose` shows of the task: the command, and in brackets what is there and what is declared.
`password` in a call stands for a setting from the vault. Examples are written in [operations.yml](operations.yml).
"""


def operations_page() -> str:
    """Return the page. Raises KeyError for an operation or a fact that has no example."""
    examples, cases = read_examples()
    operations, facts = members("operations"), members("facts")
    parts = [INTRO, _contents("Operations", operations), _contents("Facts", facts)]
    parts.append("## Operations\n")
    for module, group in _by_module(operations):
        parts.append(_head(module))
        parts += [_operation(member, examples[member.name]) for member in group]
    parts.append("## Facts\n")
    for module, group in _by_module(facts):
        parts.append(_head(module))
        parts += [_fact(member, cases[member.name]) for member in group]
    return "\n".join(parts)


def anchor(member: Member) -> str:
    """Return the anchor that Markdown makes from a member's heading."""
    return f"{KINDS[member.kind].lower()}-{member.name.lower().replace('.', '')}"


def _by_module(listed: list[Member]) -> list[tuple[Any, list[Member]]]:
    groups = [list(group) for _, group in groupby(listed, key=lambda member: member.file)]
    return [(group[0].module, group) for group in groups]


def _contents(title: str, listed: list[Member]) -> str:
    lines = [f"| {title.lower()} of | |", "|---|---|"]
    for module, group in _by_module(listed):
        links = ", ".join(f"[`{member.own}`](#{anchor(member)})" for member in group)
        lines.append(f"| `{module.__name__.rpartition('.')[2]}` | {links} |")
    return "\n".join(lines) + "\n"


def _head(module: Any) -> str:
    """Return the heading of a module with what its docstring says."""
    kind, _, file = module.__name__.removeprefix(f"{MODULES}.").partition(".")
    return f"### {kind.capitalize()} of `{file}`\n\n{meaning(module)}\n"


def _title(member: Member) -> str:
    return f"#### {KINDS[member.kind]} `{member.name}`\n"


def _operation(member: Member, example: Example) -> str:
    parts = [_title(member), meaning(member.function) + "\n", _parameters(member)]
    parts.append(f"```python\n{_code(member, example.run)}\n```\n")
    parts.append(f"Where {example.where}:\n\n```text\n{_shown(run_operation(member, example))}\n```\n")
    if (CASES / member.kind / member.name).is_dir():
        parts.append(f"Its cases: [tests/{member.kind}/{member.name}](../../tests/{member.kind}/{member.name}).\n")
    return "\n".join(part for part in parts if part)


def _code(member: Member, run: str) -> str:
    """Return a call with all that it imports, the imports first and sorted."""
    lines = run.splitlines()
    imports = [line for line in lines if line.startswith("from ")]
    imports.append(f"from {member.module.__name__} import {member.own}")
    return "\n".join([*sorted(imports), "", *(line for line in lines if line not in imports)])


def _shown(outcome: Outcome) -> str:
    """Return what a plan shows of the task."""
    lines = [line for command in outcome.commands for line in command_lines(shown_command(command), verbose=True)]
    lines += [f"unknown: {each.what}: {each.because}; settled by {each.settled_by}" for each in outcome.unknown]
    return "\n".join(lines) if lines else f"nothing to do: {outcome.noop}"


def _fact(member: Member, case: str) -> str:
    example = run_fact(member, case)
    parts = [_title(member), meaning(member.value) + "\n", _parameters(member), _result(member)]
    line = f"from {member.module.__name__} import {member.own}"
    parts.append(f"```python\n{line}\n\n{example.call}\n```\n")
    parts.append(f"It runs:\n\n```sh\n{example.command}\n```\n")
    parts.append(_printed(example))
    parts.append(f"Its cases: [tests/{member.kind}/{member.name}](../../tests/{member.kind}/{member.name}).\n")
    return "\n".join(part for part in parts if part)


def _printed(example: FactExample) -> str:
    value = pprint.pformat(example.value, width=110, sort_dicts=False)
    if not example.lines:
        return f"Where the host prints nothing, the value is:\n\n```python\n{value}\n```\n"
    lines = "\n".join(example.lines)
    return f"Where the host prints\n\n```text\n{lines}\n```\n\nthe value is:\n\n```python\n{value}\n```\n"


def _parameters(member: Member) -> str:
    """Return the table of what a caller gives; empty where that is nothing."""
    given = [each for each in inspect.signature(member.function).parameters.values() if each.name != "self"]
    if not given:
        return ""
    lines = ["| parameter | type | default |", "|---|---|---|"]
    for each in given:
        default = "required" if each.default is inspect.Parameter.empty else f"`{each.default!r}`"
        lines.append(f"| `{each.name}` | `{_in_table(str(each.annotation))}` | {default} |")
    return "\n".join(lines) + "\n"


def _in_table(text: str) -> str:
    return text.replace("|", "\\|")


def _result(member: Member) -> str:
    """Return the type of a fact's value, and what the dataclasses in it mean."""
    [base] = member.value.__orig_bases__
    [result] = get_args(base)
    text = result if isinstance(result, str) else getattr(result, "__forward_arg__", None) or _type_name(result)
    lines = [f"Value: `{text}`."]
    for name, kind in vars(member.module).items():
        if dataclasses.is_dataclass(kind) and name in text:
            lines.append(f"`{name}`: {meaning(kind)}")
    return "\n\n".join(lines) + "\n"


def _type_name(result: Any) -> str:
    """Return a type as the code writes it, without the names of modules."""
    arguments = [_type_name(argument) for argument in get_args(result)]
    if not arguments:
        return "..." if result is ... else "None" if result is type(None) else getattr(result, "__name__", str(result))
    if not isinstance(result, type) and "|" in str(result):
        return " | ".join(arguments)
    return f"{result.__name__}[{', '.join(arguments)}]"
