"""Single lines of files that somebody else owns as a whole."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Refusal
from steelyard.api.foreseen import foreseen
from steelyard.modules.facts.line import MatchingLines

# the first matching line becomes ours, further ones go, and without one ours is appended
PROGRAM = '{ if (MATCH) { if (!seen++) print ENVIRON["LINE"] } else print } END { if (!seen) print ENVIRON["LINE"] }'
EXACT, PATTERN = '$0 == ENVIRON["LINE"]', '$0 ~ ENVIRON["MATCH"]'


@foreseen
@operation()
def line(path: str, line: str, match: str | None = None) -> Generator[StringCommand, None, None]:
    """The file has this line once. Lines that match `match` (POSIX extended) are replaced by it; the rest is left
    alone.
    """
    matching = host.get_fact(MatchingLines, path=path, line=line, match=match)
    if matching is None:
        yield Refusal(f"{path} is no file, and a line of it is declared; declare the file, or install what brings it")
        return
    if matching == [line]:
        host.noop(f"{path} has the line")
        return
    at, new = QuoteString(path), QuoteString(f"{path}.steelyard-new")
    program = PROGRAM.replace("MATCH", PATTERN if match is not None else EXACT)
    variables = [StringCommand("LINE=", QuoteString(line), _separator="")]
    if match is not None:
        variables.append(StringCommand("MATCH=", QuoteString(match), _separator=""))
    written = ["awk", QuoteString(program), at, ">", new, "&& sync", new, "&& mv -T", new, at]
    live = f"`{matching[0]}`" if matching else "missing"
    yield Change(
        "cp -p", at, new, "&&", *variables, *written, subject=f"{path}: {line}", declared=f"`{line}`", live=live
    )
