"""Pages of the reference that are written by hand, against what they tell of: JSON documents, libraries."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from steelyard.cli.tree import leaves

ROOT = Path(__file__).parent.parent.parent
SCHEMA = json.loads((ROOT / "docs/reference/schemas/steelyard.schema.json").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
JSON_COMMANDS = [" ".join(command.argv) for command in leaves() if "--json" in command.options]
# documents that have another command's name: they are what that command did
SHOWN_AS = {"dify install": "apply", "dify register": "apply", "lock show": "lock", "lock break": "lock"}

STREAMS = {"logs"}  # a line for each entry, and no document


def commands_of_page() -> set[str]:
    """First cells of the page's table; after `models add`, `sign` is `models sign`."""
    found = set()
    for cell in re.findall(r"^\| (`[^|]+) \|", (ROOT / "docs/reference/json.md").read_text(), flags=re.M):
        group: tuple[str, ...] = ()
        for name in re.findall(r"`([^`]+)`", cell):
            words = tuple(name.split())
            full = words if len(words) > 1 else (*group, *words)
            group = full[:-1]
            found.add(" ".join(full))
    return found


def test_every_json_document_is_on_the_page_and_in_the_schema() -> None:
    named = {SHOWN_AS.get(command, command) for command in JSON_COMMANDS}
    defined = {
        value
        for each in SCHEMA["oneOf"]
        for rule in [SCHEMA["$defs"][each["$ref"].split("/")[-1]].get("properties", {}).get("command", {})]
        for value in [*rule.get("enum", []), *([rule["const"]] if "const" in rule else [])]
    }
    assert sorted(named - STREAMS - defined) == []
    assert sorted(defined - named) == []
    paged = {SHOWN_AS.get(command, command) for command in commands_of_page()}
    assert sorted(named - paged) == []


def test_every_library_has_its_reason() -> None:
    page = (ROOT / "docs/reference/libraries.md").read_text().lower()
    extras = [word for name, words in PROJECT["optional-dependencies"].items() if name != "dev" for word in words]
    names = [re.split(r"[<>=\[; ]", word)[0] for word in [*PROJECT["dependencies"], *extras]]
    assert [name for name in names if name.lower() not in page] == []
