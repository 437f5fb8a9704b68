"""An engine's virtual environment as it lies on disk now, and the lock its mirror offers; one exec each."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

MARK = ".steelyard-lock"


@dataclass(frozen=True)
class EngineState:
    """`lock_sha256` is of the lock the environment was completely installed from; None: not or half installed."""

    lock_sha256: str | None
    distributions: int


def parse_engine(lines: list[str]) -> EngineState:
    """Read the lines of the fact. Raises FactProcessError."""
    try:
        values = dict(line.split("=", 1) for line in lines)
        return EngineState(values["lock"] or None, int(values["distributions"]))
    except (KeyError, ValueError) as error:
        raise FactProcessError(f"engine: cannot read {lines}") from error


class Engine(FactBase[EngineState]):
    """State of the environment at `folder`."""

    def command(self, folder: str) -> StringCommand:
        mark = QuoteString(f"{folder}/{MARK}")
        counted = StringCommand(
            "find", QuoteString(f"{folder}/lib"), "-maxdepth 3 -name '*.dist-info' 2>/dev/null | wc -l"
        )
        return StringCommand(
            'echo "lock=$(test -e',
            mark,
            "&& sha256sum <",
            mark,
            '| cut -c1-64)"; echo "distributions=$(',
            counted,
            ')"',
        )

    def process(self, output: list[str]) -> EngineState:
        return parse_engine(output)

    @staticmethod
    def default() -> EngineState:
        return EngineState(None, 0)


@dataclass(frozen=True)
class OfferedLock:
    """The lock that a mirror serves: None where it does not answer. `lines` is the number of wheels in the lock."""

    sha256: str | None
    lines: int = 0


def parse_lock(lines: list[str]) -> OfferedLock:
    """`sha256 count`, or `none`. Raises FactProcessError."""
    if lines == ["none"]:
        return OfferedLock(None)
    try:
        digest, count = lines[0].split()
        return OfferedLock(digest, int(count))
    except (IndexError, ValueError) as error:
        raise FactProcessError(f"lock: cannot read {lines}") from error


class Lock(FactBase[OfferedLock]):
    """The lock behind `url` as this host sees it; Python's own client, because a bare host has no curl."""

    def command(self, url: str) -> StringCommand:
        program = (
            "import hashlib,sys,urllib.request as u\n"
            "try: b=u.urlopen(sys.argv[1],timeout=10).read()\n"
            "except OSError: print('none')\n"
            "else: print(hashlib.sha256(b).hexdigest(), len(b.splitlines()))"
        )
        return StringCommand("python3 -I -c", QuoteString(program), QuoteString(url))

    def process(self, output: list[str]) -> OfferedLock:
        return parse_lock(output)

    @staticmethod
    def default() -> OfferedLock:
        return OfferedLock(None)
