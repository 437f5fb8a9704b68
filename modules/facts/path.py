"""A path as the kernel reports it now: kind, mode, owner, content hash; one read-only exec. Source: coreutils."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class PathState:
    """One path at one moment. `kind` is none, file, folder, link or other; the rest is None where it does not apply."""

    kind: str
    mode: str | None = None  # octal with a leading zero
    user: str | None = None
    group: str | None = None
    sha256: str | None = None  # files
    target: str | None = None  # links


def parse_path(lines: list[str]) -> PathState:
    """`key=value` lines to a state. Raises FactProcessError, and nothing else."""
    try:
        values = dict(line.split("=", 1) for line in lines if line)
        return PathState(**{key: values[key] for key in values if key != "kind"}, kind=values["kind"])
    except (KeyError, ValueError, TypeError) as error:
        raise FactProcessError(f"path: cannot read {lines}") from error


class Path(FactBase[PathState]):
    """State of `path`. A link is reported as a link, not as what it points to."""

    def command(self, path: str) -> StringCommand:
        at = QuoteString(path)
        shown = StringCommand(r"stat --printf 'mode=0%a\nuser=%U\ngroup=%G\n'", at)
        link = StringCommand("if test -L", at, '; then echo kind=link; echo "target=$(readlink', at, ')"')
        folder = StringCommand("elif test -d", at, "; then echo kind=folder;", shown)
        hashed = StringCommand('echo "sha256=$(sha256sum <', at, '| cut -c1-64)"')
        file = StringCommand("elif test -f", at, "; then echo kind=file;", shown, ";", hashed)
        other = StringCommand("elif test -e", at, "; then echo kind=other")
        return StringCommand(link, ";", folder, ";", file, ";", other, "; else echo kind=none; fi")

    def process(self, output: list[str]) -> PathState:
        return parse_path(output)

    @staticmethod
    def default() -> PathState:
        return PathState("none")


def parse_content(lines: list[str]) -> bytes | None:
    """base64 lines to bytes; None for the word `none`. Raises FactProcessError."""
    if lines == ["none"]:
        return None
    try:
        return base64.b64decode("".join(lines), validate=True)
    except binascii.Error as error:
        raise FactProcessError("content: not base64") from error


class Content(FactBase["bytes | None"]):
    """Content of a file, for diffs: asked only where the hash differs, never for secrets. None: no file."""

    def command(self, path: str) -> StringCommand:
        at = QuoteString(path)
        return StringCommand("if test -s", at, "; then base64", at, "; else echo none; fi")

    def process(self, output: list[str]) -> bytes | None:
        return parse_content(output)

    @staticmethod
    def default() -> bytes | None:
        return None
