"""The examples of docs/reference/operations.yml, run; and the page that shows them."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tools"))
from module_examples import CASES, PASSWORD, ROOT, Member, members, read_examples, run_fact, run_operation
from operations_page import anchor, operations_page
from pyinfra_testing.util import get_command_string

from steelyard.api.change import Refusal

OPERATIONS, FACTS = members("operations"), members("facts")
EXAMPLES, FACT_CASES = read_examples()
PAGE = (ROOT / "docs/reference/operations.md").read_text()


def as_in_case(value: Any) -> Any:
    """A value as a case has it: tuples are lists there, dataclasses are maps, and content is text."""
    return json.loads(
        json.dumps(value, default=lambda other: other.decode() if type(other) is bytes else asdict(other))
    )


def command_as_in_case(command: Any) -> Any:
    """A command as a case has it: its text, and what goes over standard input beside it."""
    text, arguments = get_command_string(command), command.connector_arguments
    return {**arguments, "command": text} if arguments else text


def test_every_operation_and_fact_has_one_example() -> None:
    assert sorted(EXAMPLES) == sorted(member.name for member in OPERATIONS)
    assert sorted(FACT_CASES) == sorted(member.name for member in FACTS)
    assert (len(OPERATIONS) > 50, len(FACTS) > 25) == (True, True)


@pytest.mark.parametrize("member", OPERATIONS, ids=lambda member: member.name)
def test_example_of_an_operation(member: Member) -> None:
    example = EXAMPLES[member.name]
    outcome = run_operation(member, example)
    if example.case is None:
        assert outcome.commands or outcome.unknown, "an example shows a change, a refusal, or what is unknown"
        return
    case = member.case(example.case)
    assert as_in_case(outcome.kwargs) == as_in_case(case.get("kwargs", {}))
    assert [command_as_in_case(command) for command in outcome.commands] == case["commands"]
    assert outcome.noop == case.get("noop_description")


@pytest.mark.parametrize("member", FACTS, ids=lambda member: member.name)
def test_example_of_a_fact(member: Member) -> None:
    case = member.case(FACT_CASES[member.name])
    example = run_fact(member, FACT_CASES[member.name])
    assert example.command == case["command"].strip()
    assert as_in_case(example.value) == case["fact"]


def test_examples_say_one_thing_about_their_host() -> None:
    for name, example in EXAMPLES.items():
        assert (example.case is None) == (example.facts is not None or example.dify is not None), name
        assert example.where[0].islower() or example.where.split()[0] in ("Docker", "Dify", "HAProxy", "Secure"), name
        assert not example.where.endswith("."), name


@pytest.mark.parametrize("member", [*OPERATIONS, *FACTS], ids=lambda member: f"{member.kind}-{member.name}")
def test_the_page_shows_the_example(member: Member) -> None:
    assert PAGE.count(f"](#{anchor(member)})") == 1
    heading = rf"^#### \w+ `{re.escape(member.name)}`\n"
    [section] = re.findall(rf"{heading}(.*?)(?=^###|\Z)", _of_kind(member.kind), re.M | re.S)
    assert f"import {member.own}\n" in section
    if member.kind == "operations":
        call = EXAMPLES[member.name].run.splitlines()[-1]
        assert f"{call}\n```\n\nWhere {EXAMPLES[member.name].where}:\n" in section
    else:
        assert f"{run_fact(member, FACT_CASES[member.name]).call}\n```" in section
    folder = CASES / member.kind / member.name
    assert (f"(../../tests/{member.kind}/{member.name})" in section) == folder.is_dir()


def _of_kind(kind: str) -> str:
    """The half of the page that tells of operations, or of facts: `path.file` and `path.Content` are two things."""
    operations, facts = PAGE.split("\n## Facts\n")
    return {"operations": operations, "facts": facts}[kind]


def test_the_page_is_what_the_examples_yield_now() -> None:
    assert PAGE.partition("-->\n\n")[2] == operations_page(), "run `make docs`"


def test_an_example_that_is_wrong_is_told() -> None:
    [folder] = [member for member in OPERATIONS if member.name == "path.folder"]
    example = EXAMPLES["path.folder"]
    with pytest.raises(TypeError, match="name"):
        run_operation(folder, replace(example, run='folder(path="/models")'))
    with pytest.raises(TypeError, match="owner"):
        run_operation(folder, replace(example, run='folder(name="Make it", path="/models", owner="root")'))
    with pytest.raises(KeyError, match="/elsewhere"):
        run_operation(folder, replace(example, run='folder(name="Make it", path="/elsewhere")'))


def test_raw_lines_go_through_the_fact_s_own_parser() -> None:
    [folder] = [member for member in OPERATIONS if member.name == "path.folder"]
    example = replace(EXAMPLES["path.folder"], case=None, facts={"path.Path": ["kind=file"]})
    [refusal] = run_operation(folder, example).commands
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "/models is a file and a folder is declared; move it away"


def test_secrets_of_examples_are_not_on_the_page() -> None:
    assert PASSWORD not in PAGE
