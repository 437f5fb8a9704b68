"""Faults of YAML and JSON that people write: where one is, what was found there, and how it is usually mended. Pure.

A parser names the place where it gave up, which for a quote or a bracket is far below the mistake; here it is where the
mistake begins. Two mistakes that parsers take are faults too, because what they make is not what was meant: a key
that is said twice, and a template without quotes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from steelyard.errors import FileSyntaxWrong

if TYPE_CHECKING:
    import yaml

SHOWN = 80  # characters of a line
SECRET = re.compile(r"(keys?|passw(or)?d|pass|secrets?|tokens?|clients|credentials?)$", re.IGNORECASE)
LINE = re.compile(r"^(?P<indent>\s*)(?:- +)?(?P<key>['\"]?[\w.-]+['\"]?)\s*:(?:\s+(?P<value>\S.*))?\s*$")
KEY = re.compile(r"(?i)\b(sk-|hf_)\w{6}|(password|secret|token|key)\s*[:=]")  # what looks like one, wherever
NAMED = re.compile(r"(?:- +)?['\"]?[\w.-]+['\"]?\s*[:=]")
TEMPLATE = re.compile(r"(:|-)\s+\{\{")
HIDDEN = "(hidden)"


class Fault(NamedTuple):
    """One mistake. `line` and `column` count from 1; `mistake` and `mend` are parts of sentences."""

    line: int
    column: int
    mistake: str
    mend: str


def read_yaml(path: Path) -> Any:
    """The document of a YAML file; None where it is empty. Raises OSError, FileSyntaxWrong."""
    return read_yaml_nodes(path)[1]


def read_yaml_nodes(path: Path) -> tuple[yaml.Node | None, Any]:
    """The document of a YAML file with its nodes, which know their lines. Raises OSError, FileSyntaxWrong."""
    import yaml

    text = readable(path, path.read_bytes())
    require_sound(path, text)
    return yaml.compose(text, _loader()), yaml.load(text, _loader())


def readable(path: Path, content: bytes) -> str:
    """The text of a file. Raises FileSyntaxWrong where it is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        column = error.start - before.rfind(b"\n")
        raise FileSyntaxWrong(
            where=f"{path}:{before.count(chr(10).encode()) + 1}",
            mistake=f"byte 0x{content[error.start]:02x} is not UTF-8",
            column=str(column),
            text=before.rsplit(b"\n", 1)[-1].decode()[:SHOWN],
            mend="save the file as UTF-8; `iconv -f latin1 -t utf-8` converts a file of older editors",
        ) from error


def require_sound(path: Path, text: str, *, secret: bool = False) -> None:
    """See that the text has no fault. `secret`: its file is encrypted, and nothing is shown. Raises FileSyntaxWrong."""
    fault = json_fault(text) if path.suffix == ".json" else yaml_fault(text)
    if fault is None:
        return
    raise FileSyntaxWrong(
        where=f"{path}:{fault.line}",
        mistake=WORDS_OF_THE_FILE.sub("a key", fault.mistake) if secret else fault.mistake,
        column=str(fault.column),
        text=HIDDEN if secret else shown_line(text.splitlines(), fault.line),
        mend=fault.mend,
    )


def _loader() -> Any:
    """The parser that ansible-core takes too: libyaml's, where there is one. It takes some texts that PyYAML's own does
    not, a tab at the end of a line for example.
    """
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


WORDS_OF_THE_FILE = re.compile(r"`[^`]*`")  # in what was found: words of the file


def json_fault(text: str) -> Fault | None:
    """The first mistake of a JSON text; None where there is none."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1] if text.strip() else ""
        before = text[: error.pos].rstrip()
        mend = "put the missing comma, quote or bracket"
        if not text.strip():
            mend = "write a JSON document, `{}` if there is nothing to say"
        elif before.endswith(",") and text[error.pos : error.pos + 1] in ("}", "]"):
            mend = "remove the comma before the closing bracket"
        elif "'" in line:
            mend = "JSON has double quotes only: write \" for '"
        elif "//" in line or "#" in line:
            mend = "JSON has no comments: remove it"
        return Fault(error.lineno, error.colno, f"no JSON: {_uncapitalised(error.msg)}", mend)
    return None


def yaml_fault(text: str) -> Fault | None:
    """The first mistake of a YAML text of one document; None where there is none."""
    import yaml

    lines = text.splitlines()
    try:
        root = yaml.compose(text, _loader())
    except yaml.YAMLError as error:
        return _syntax(text, lines) or _named_by(error, lines)
    return _meaning(root, lines) if root is not None else None


def _syntax(text: str, lines: list[str]) -> Fault | None:
    """By the slow parser, whose words and places are the same everywhere."""
    import yaml

    try:
        yaml.compose(text, yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        column = error.position - before.rfind("\n")
        character = f"the character U+{error.character:04X}" if isinstance(error.character, int) else "a character"
        return Fault(before.count("\n") + 1, column, f"{character} cannot be in YAML", "remove that character")
    except yaml.YAMLError as error:
        return _named_by(error, lines)
    return None


def _named_by(error: Exception, lines: list[str]) -> Fault:
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    at = (mark.line, mark.column) if mark is not None else (0, 0)
    began = (context.line, context.column) if context is not None else at
    return _named(
        getattr(error, "problem", None) or str(error), getattr(error, "context", None) or "", at, began, lines
    )


Place = tuple[int, int]  # line and column, from 0


def _named(problem: str, context: str, at: Place, began: Place, lines: list[str]) -> Fault:
    """The mistake behind a parser's complaint."""
    line = _line(lines, at[0])
    for rule in (_conflict, _tab, _template, _quote, _bracket, _document, _colon, _character, _indent):
        fault = rule(problem, context, at, began, lines)
        if fault is not None:
            return fault
    mend = "compare it with the lines around it" if line.strip() else "see the line before"
    return Fault(at[0] + 1, at[1] + 1, f"no YAML: {problem}", mend)


def _line(lines: list[str], number: int) -> str:
    return lines[number] if 0 <= number < len(lines) else ""


def _conflict(problem: str, context: str, at: Place, began: Place, lines: list[str]) -> Fault | None:
    for number, line in enumerate(lines):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            return Fault(number + 1, 1, "a conflict that git left", "keep one side, and remove its three marks")
    return None


def _tab(problem: str, context: str, at: Place, began: Place, lines: list[str]) -> Fault | None:
    for number in (at[0], at[0] - 1):
        line = _line(lines, number)
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent:
            return Fault(number + 1, indent.index("\t") + 1, "a tab indents this line", "indent with spaces, no tabs")
    if "'\\t'" in problem:
        return Fault(at[0] + 1, at[1] + 1, "a tab stands before the value", "write one space there")
    return None


def _template(problem: str, context: str, at: Place, began: Place, lines: list[str]) -> Fault | None:
    for number in (at[0], began[0], at[0] - 1):
        match = TEMPLATE.search(_line(lines, number))
        if match:
            return _template_at(number, match.end() - 2)
    return None


def _template_at(line: int, column: int) -> Fault:
    return Fault(line + 1, column + 1, "a template without quotes", "put the whole value into quotes")


def _quote(problem: str, context: str, at: Place, began: Place, lines: list[str]) -> Fault | None:
    mend = "close the quote on the same line"
    if "quoted scalar" in context and "escape" in problem:
        return Fault(at[0] + 1, at[1] + 1, "a backslash that means nothing", "write the value in single quotes")
    if "quoted scalar" in context:
        return Fault(began[0] + 1, began[1] + 1, "a quote that is never closed", mend)
    # one that was closed by the first quote of a later line
    for number in range(at[0], max(-1, began[0] - 1), -1):
        text = _line(lines, number).split(" #")[0]
        for mark in ('"', "'"):
            opened = re.search(rf"[:\-\[,{{]\s*{mark}", text)
            if opened and text.count(mark) % 2:
                return Fault(number + 1, opened.end(), "a quote that is not closed on its line", mend)
    if re.search(r"[:\-]\s+(\"[^\"]*\"|'[^']*')\s*[^\s#,\]}]", _line(lines, at[0])):
        return Fault(at[0] + 1, at[1] + 1, "text behind a closed quote", "put the whole value into one pair of quotes")
    return None


def _bracket(problem: str, context: str, at: Place, began: Place, lines: list[str]) -> Fault | None:
    if "flow" in context:
        line, column = _opening(lines, began)
        opened = _line(lines, line)[column : column + 1]
        closing = {"[": "]", "{": "}"}.get(opened, "}")
        return Fault(line + 1, column + 1, f"`{opened}` without its `{closing}`", f"close it with {closing}")
    if re.match(r"\s*[\]}]", _line(lines, at[0])[at[1] :]):
        return Fault(at[0] + 1, at[1] + 1, "a closing bracket that nothing opened", "remove it, or open it before")
    return None


def _opening(lines: list[str], began: Place) -> Place:
    """The place of the bracket that a parser was in, which names what it was reading where its text ended."""
    if _line(lines, began[0])[began[1] : began[1] + 1] in ("[", "{"):
        return began
    for number in range(min(began[0], len(lines) - 1), -1, -1):
        text = _line(lines, number)[: began[1] if number == began[0] else None]
        column = max(text.rfind("["), text.rfind("{"))
        if column >= 0:
            return number, column
    return began


def _document(problem: str, context: str, at: Place, began: Place, lines: list[str]) -> Fault | None:
    if "single document" in context or "document start" in problem:
        mend = "keep one document in the file: no second `---`, and no text behind the end of the first"
        return Fault(at[0] + 1, at[1] + 1, "a second document begins", mend)
    return None


def _colon(problem: str, context: str, at: Place, began: Place, lines: list[str]) -> Fault | None:
    for number in dict.fromkeys((began[0], at[0], at[0] - 1)):
        line = _line(lines, number)
        squeezed = re.match(r"\s*(?:- +)?[\w.-]+:(?=[^\s/:\\])", line)
        if squeezed and "{" not in line:
            return Fault(number + 1, squeezed.end(), "no space behind the colon", "write a space behind the colon")
        if re.match(r"\s*-[\w'\"]", line) and not line.lstrip().startswith("---"):
            column = line.index("-") + 1
            return Fault(number + 1, column, "no space behind the dash", "write a space behind the dash")
    line = _line(lines, at[0])
    if "mapping values are not allowed" in problem:
        if line[: at[1]].count(": "):
            return Fault(at[0] + 1, at[1] + 1, "a second colon in one value", "put the value into quotes")
        return None
    if "expected ':'" in problem:
        number = began[0]
        column = len(_line(lines, number)) - len(_line(lines, number).lstrip()) + 1
        return Fault(number + 1, column, "a line that is neither `key: value` nor part of a list", "add its colon")
    return None


def _character(problem: str, context: str, at: Place, began: Place, lines: list[str]) -> Fault | None:
    match = re.search(r"found character '(.+)' that cannot start any token", problem)
    if match:
        mend = "put the value into quotes"
        return Fault(at[0] + 1, at[1] + 1, f"a value cannot begin with '{match[1]}'", mend)
    if "undefined alias" in problem or "scanning an alias" in context or "scanning an anchor" in context:
        return Fault(at[0] + 1, at[1] + 1, "a `*` or `&` that names nothing", "put the value into quotes")
    if "tag" in context or "tag" in problem:
        return Fault(at[0] + 1, at[1] + 1, "a `!` begins a tag, and this is none", "put the value into quotes")
    return None


def _indent(problem: str, context: str, at: Place, began: Place, lines: list[str]) -> Fault | None:
    if "block" not in context and "mapping values" not in problem:
        return None
    line = _line(lines, at[0])
    column = len(line) - len(line.lstrip()) + 1
    mend = "give it as many spaces as the lines that it belongs to"
    return Fault(at[0] + 1, column, "an indentation that fits to no line above", mend)


def _meaning(root: yaml.Node, lines: list[str]) -> Fault | None:
    """Mistakes that parse: the first in the order of the file."""
    import yaml

    faults: list[Fault] = []
    seen: set[int] = set()

    def visit(node: yaml.Node) -> None:
        if id(node) in seen:  # an alias, perhaps of what holds it
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                visit(item)
        elif isinstance(node, yaml.MappingNode):
            places: dict[str, int] = {}
            for key, value in node.value:
                mark = key.start_mark
                if not isinstance(key, yaml.ScalarNode):
                    faults.append(_template_at(mark.line, max(0, mark.column - 1)))
                elif key.value in places and key.value != "<<":
                    twice = f"`{key.value}` is said twice, first in line {places[key.value]}"
                    mend = "keep one of the two: a parser would take the last, without a word"
                    faults.append(Fault(mark.line + 1, mark.column + 1, twice, mend))
                else:
                    places[str(key.value)] = mark.line + 1
                visit(value)

    visit(root)
    return min(faults, default=None)


def shown_line(lines: list[str], number: int) -> str:
    """Line `number` as it may be shown: a value is hidden where its key, or one above it, names a secret."""
    line = _line(lines, number - 1)
    match = LINE.match(line)
    indent = len(line) - len(line.lstrip())
    keys = [match["key"].strip("'\"")] if match else []
    for above in reversed(lines[: number - 1]):
        parent = LINE.match(above)
        if parent and len(parent["indent"]) < indent:
            indent = len(parent["indent"])
            keys.append(parent["key"].strip("'\""))
    text = line.strip()
    if any(SECRET.search(key) for key in keys) or KEY.search(text):
        named = NAMED.match(text)
        text = f"{named[0]} {HIDDEN}" if named else HIDDEN
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
