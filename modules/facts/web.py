"""Answer of a web server of this host; one exec. Python's own client, because a bare host has no curl."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase

PROGRAM = (
    "import sys,urllib.request as u\n"
    "try: print('answer='+u.urlopen(sys.argv[1],timeout=5).read(200).decode('utf-8','replace').strip())\n"
    "except OSError: print('none')"
)


def parse_web_answer(lines: list[str]) -> str | None:
    """The first line of the answer; None where there was none."""
    first = lines[0] if lines else "none"
    return first.removeprefix("answer=") if first.startswith("answer=") else None


class WebAnswer(FactBase["str | None"]):
    """First line that `url` answers, up to 200 bytes; None: no answer, or not a 200."""

    def command(self, url: str) -> StringCommand:
        return StringCommand("python3 -I -c", QuoteString(PROGRAM), QuoteString(url))

    def process(self, output: list[str]) -> str | None:
        return parse_web_answer(output)

    @staticmethod
    def default() -> str | None:
        return None
