"""Builds the helper for hosts: one zipapp, the same bytes for the same sources, pynvml vendored from nvidia-ml-py.

Hosts read and compile it at every call, so docstrings, comments and what only a type checker reads stay at home; lines
keep their numbers.
"""

from __future__ import annotations

import io
import re
import zipfile
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from steelyard_host.paths import HELPER as HELPER

RUN_HELPER = f"python3 -I {HELPER}"
IDLE = "ionice -c 3 nice -n 19"  # before it: what serves goes first


DOCSTRING = re.compile(r'(\A\n*|:\n|\n\n)( *)("""|\'\'\')(?:[^\\]|\\.)*?\3[ ]*$', re.M | re.S)
COMMENT = re.compile(r"^[ \t]*#.*$|(?<=\S)[ \t]*#[^\"'\n]*$", re.M)
FOR_CHECKERS = re.compile(r"^(if TYPE_CHECKING:\n)((?:(?:[ ]+.*)?\n)+)", re.M)
EMPTY_LINES = re.compile(r"\n\s*\n+")
SPACES = re.compile(  # round operators, and line ends after them in brackets; indents, texts and the notice stay
    r"""(^[ ]+|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|#.*)|"""
    r"[ ]*([=!]=|[-+*/,=(\[])[ ]*(?:(?<=[,(\[])\n[ ]+)?",
    re.M,
)
# An apply may put a newer helper in the place of one that runs, and a module that is loaded late would be looked for in
# other bytes: everything but this comes from the file that was open at the start, whatever its name leads to later.
MAIN = """import os
import sys

try:
    _archive = "/proc/self/fd/%d" % os.open(sys.path[0], os.O_RDONLY)
    os.stat(_archive)
    sys.path[0] = _archive
except OSError:
    pass
from steelyard_host.__main__ import main

sys.exit(main())
"""
SENT_APART = "receive_wheels.py"  # to mirrors, which need not have the helper
NOTICE = re.compile(r"\A(?:#.*\n)*")


def without_prose(source: str) -> str:
    """The same program on the same lines, without docstrings, most comments and the bodies of `if TYPE_CHECKING`.

    A notice at its head stays.
    """
    notice = NOTICE.match(source)
    at = notice.end() if notice else 0
    code = FOR_CHECKERS.sub(_passed, DOCSTRING.sub(_emptied, source[at:]))
    if '"""' in code or "'''" in code:
        return source[:at] + code  # what looks like a comment may be a line of a text
    return source[:at] + COMMENT.sub("", code)


def packed(source: str) -> str:
    """The same program in fewer characters: of a library that nobody debugs on a host.

    Each release of nvidia-ml-py from 12.535.77 to 13.615.71 has the same syntax tree after it.
    """
    return SPACES.sub(lambda kept: kept[1] or kept[2], EMPTY_LINES.sub("\n", without_prose(source)))


def _emptied(docstring: re.Match[str]) -> str:
    return docstring[1] + docstring[2] + '""' + "\n" * docstring[0].count("\n", len(docstring[1]))


def _passed(body: re.Match[str]) -> str:
    return body[1] + "    pass" + "\n" * body[2].count("\n")


@lru_cache
def helper_bytes() -> bytes:
    """The zipapp's content."""
    import steelyard_host

    folder = Path(str(steelyard_host.__file__)).parent
    members = {
        f"steelyard_host/{path.relative_to(folder)}": without_prose(path.read_text())
        for path in folder.rglob("*.py")
        if path.name != SENT_APART
    }
    members["pynvml.py"] = packed(Path(str(import_module("pynvml").__file__)).read_text())
    members["__main__.py"] = MAIN
    stream = io.BytesIO(b"")
    stream.write(b"#!/usr/bin/python3 -I\n")
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(members.items()):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)
    return stream.getvalue()
