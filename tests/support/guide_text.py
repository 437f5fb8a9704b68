"""A guide as a script: its shell blocks in order, and its YAML blocks as the files that a comment before each names.

What only a reader knows (addresses, login, key, model) stands in a guide as an example, and is replaced word by word;
nothing else is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GUIDES = sorted((ROOT / "docs/guides").glob("*.md"))
FENCE = re.compile(
    r"(?:<!-- (?:file: (?P<file>\S+)|exit: (?P<exits>[\d or]+)) -->\n)?^```(?P<kind>sh|yaml)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Step:
    """Commands to run, or the text of a file to write. `line`: where its first one stands; `exits`: how its last
    command may end.
    """

    line: int
    text: str
    file: str | None = None
    exits: tuple[int, ...] = (0,)

    @property
    def commands(self) -> list[str]:
        """One per command of a shell step; lines that end with a backslash go on."""
        joined = self.text.replace("\\\n", " ")
        return (
            [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
            if self.file is None
            else []
        )


def steps(path: Path, answers: Mapping[str, str] | None = None) -> list[Step]:
    """The steps of a guide with the reader's `answers` in place of the examples; each must stand in the guide."""
    text = path.read_text()
    for example in answers or {}:
        assert example in text, f"{path.name} does not say {example}"
    found = []
    for match in FENCE.finditer(text):
        line = text[: match.start("text")].count("\n") + 1
        assert (match["kind"] == "yaml") == (match["file"] is not None), f"{path.name}:{line}: which file is this?"
        body = match["text"]
        for example, answer in (answers or {}).items():
            body = body.replace(example, answer)
        exits = tuple(int(code) for code in (match["exits"] or "0").split(" or "))
        found.append(Step(line, body, match["file"], exits))
    return found


def steelyard_calls(path: Path) -> list[tuple[int, list[str]]]:
    """Line and words of each call of steelyard in the guide's shell blocks."""
    calls = []
    for step in steps(path):
        for command in step.commands:
            for call in re.findall(r"(?:^|[\s(])(?:\.venv/bin/|\S*/)?steelyard ([^|)>&;]+)", command):
                calls.append((step.line, call.split()))
    return calls
