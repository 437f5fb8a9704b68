"""A `.env` as Compose reads it: keys, values in quotes, over several lines, with escapes and references.

Compose's own reader is meant, not a shell's: `'` keeps everything but `\\'`, `"` knows escapes, an unquoted value ends
at its line or at ` #`, and `$` refers to another key in both of the latter. Source: compose-go 2.0 to 2.9, package
dotenv, held against two releases of the real `docker compose config` by `tests/unit/test_dify_dotenv.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from steelyard_host.errors import HelperError

_KEY = re.compile(r"(?:export[ \t]+)?([A-Za-z0-9_.\-\[\]]+)[ \t]*(=|:|(?=\n|\Z))")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@,+=%~^*?!()\[\]{}<>|;&-]*\Z")
_ESCAPE = re.compile(r"\\(?:[abcfnrtv$\"\\]|0\d{0,3})")
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}
_REFERENCE = re.compile(
    r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-+?])((?:[^{}]|\{[^{}]*\})*))?\})"
)
_HALF_REFERENCE = re.compile(r"\$\{")


class DotenvError(HelperError):
    """One sentence of why Compose would not read a file; it tells no value."""


class Statement(NamedTuple):
    """One key of a file: its text runs from `begin` to `end`; `raw` is the value as it stands there, with its quotes.

    `raw` is None where the file names a key without a value: Compose takes that from its own environment.
    """

    key: str
    raw: str | None
    begin: int
    end: int


def statements(text: str) -> list[Statement]:
    """The keys of a file, in its order. Raises DotenvError with the line that Compose would not read."""
    read: list[Statement] = []
    at = 0
    text = text.replace("\r\n", "\n")
    while True:
        at = _past_blanks_and_comments(text, at)
        if at >= len(text):
            return read
        named = _KEY.match(text, at)
        if named is None:
            raise DotenvError("line %d is no KEY=VALUE" % _line(text, at))
        if not named[2]:
            read.append(Statement(named[1], None, at, named.end()))
            at = named.end()
            continue
        begin = named.end()
        while text[begin : begin + 1] in (" ", "\t"):
            begin += 1
        end = _end_of_value(text, begin, named[1])
        if not text.startswith("'", begin) and _HALF_REFERENCE.search(_REFERENCE.sub("", _unescaped(text[begin:end]))):
            raise DotenvError("`${` in the value of %s in line %d begins no reference" % (named[1], _line(text, begin)))
        read.append(Statement(named[1], text[begin:end].rstrip(), at, end))
        at = end


def _past_blanks_and_comments(text: str, at: int) -> int:
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif text[at] == "#":
            line_end = text.find("\n", at)
            at = len(text) if line_end < 0 else line_end
        else:
            break
    return at


def _end_of_value(text: str, begin: int, key: str) -> int:
    quote = text[begin : begin + 1]
    if quote not in ("'", '"') or not quote:
        line_end = text.find("\n", begin)
        line = text[begin:] if line_end < 0 else text[begin:line_end]
        return begin + len(line.split(" #", 1)[0])
    at, escaped = begin + 1, False
    while at < len(text):
        if text[at] == quote and not escaped:
            return at + 1
        escaped = text[at] == "\\" and not escaped
        at += 1
    raise DotenvError("the quote that begins the value of %s in line %d has no end" % (key, _line(text, begin)))


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def entries(text: str) -> dict[str, str | None]:
    """Raw values by key; of a key that stands twice, the last. Raises DotenvError."""
    return {statement.key: statement.raw for statement in statements(text)}


def quoted(value: str) -> str:
    """A raw value that Compose reads as exactly this text."""
    if _PLAIN.match(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    for letter, code in (("\n", "n"), ("\r", "r"), ("\t", "t")):
        escaped = escaped.replace(letter, "\\" + code)
    return '"%s"' % escaped


def refers(raw: str) -> bool:
    """Whether a raw value takes in another key's."""
    return not raw.startswith("'") and any(match[1] is None for match in _REFERENCE.finditer(_unescaped(raw)))


def canonical(raw: str | None) -> str | None:
    """The same value written in one way, so that two files can be compared by what they mean."""
    if raw is None or refers(raw):
        return raw
    return quoted(text_of(raw, {}))


def text_of(raw: str | None, before: Mapping[str, str]) -> str:
    """The text that a container is given for a raw value; `before`: the texts of the keys that stand before it."""
    if raw is None:
        return ""
    if raw.startswith("'"):
        return raw[1:-1].replace("\\'", "'")
    return _expanded(_unescaped(raw), before)


def texts(text: str) -> dict[str, str]:
    """The text of each key of a file: a value may refer to the keys before it. Raises DotenvError."""
    read: dict[str, str] = {}
    for statement in statements(text):
        read[statement.key] = text_of(statement.raw, read)
    return read


def _unescaped(raw: str) -> str:
    """A raw value without its double quotes and their escapes; `$$` stands for a dollar that refers to nothing."""
    if not raw.startswith('"'):
        return raw

    def plain(match: re.Match[str]) -> str:
        code = match[0][1:]
        if code == "$":
            return "$$"
        if code.startswith("0"):
            # three digits are one letter; of fewer, only the 0 goes: Compose hands them to Go, which wants three
            return chr(int(code[1:], 8)) if re.fullmatch(r"0[0-3][0-7]{2}", code) else "\\" + code[1:]
        return _ESCAPED.get(code, match[0])

    return _ESCAPE.sub(plain, raw[1:-1].replace('\\"', "\0")).replace("\0", '"')


def _expanded(text: str, known: Mapping[str, str]) -> str:
    def taken(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        text, how, other = known.get(match[2] or match[3], ""), match[4] or "", match[5] or ""
        if how.endswith("-"):
            return text or _expanded(other, known)
        if how.endswith("+"):
            return _expanded(other, known) if text else ""
        return text

    return _REFERENCE.sub(taken, text)
