"""Names and words of hosts are text wherever they are shown: a terminal, a job's output, and each kind of report."""

from __future__ import annotations

import json
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from steelyard.api.advice import Advice
from steelyard.api.finding import Finding
from steelyard.drift.report import DriftReport
from steelyard.errors import HostUnreachable, SteelyardError
from steelyard.errors.visible import harmless, no_commands_in_json, one_line
from steelyard.hardware.floor import Grade, Measure
from steelyard.render.logs import show_logs
from steelyard.render.preflight_page import page
from steelyard.render.reports.markdown import _cell
from steelyard.render.reports.requested import RequestedReports
from steelyard.render.screen import Screen, print_error
from steelyard.render.tables import made_table
from steelyard.workflows.read_logs import LogEntry

HOSTILE = [
    "gpu-1\x1b[2J\x1b]0;title\x07",
    "exe.\u202efdp",
    "a\n::error file=x::forged",
    "  ::add-mask::b",
    "##[set-output name=x]y",
    "x ##vso[task.setvariable variable=a]b",
    "##teamcity[buildStatus text='x']",
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "[click](https://example.invalid)",
    "![x](https://example.invalid/x.png)",
    "**bold** _it_ ~~gone~~ `code` | cell | <b>x</b>",
    "&lt;b&gt; &copy; &amp;",
    "@everyone @org/team #1 !2",
    "# heading",
    "1. item",
    "- item",
    "\\| \\\\",
    "nul\0 \x85 \ufffe \uffff \ud800",
    "]]> <![CDATA[ <!-- -->",
    "{0} {{ x }} {% y %}",
    "a\tb\r\nc",
]
TEXTS = st.text(st.characters() | st.sampled_from("`|\\<>[]()*_~!@#&:\n\x1b\u202e -.1"), max_size=60)


def obeyed_by_a_runner(text: str) -> list[str]:
    """Lines that GitHub's runner takes for a command: in its old form anywhere, in its new one at their beginning."""
    lines = text.splitlines()
    new = [line for line in lines if line.lstrip().startswith("::") and "::" in line.lstrip()[2:]]
    return new + [line for line in lines if re.search(r"##(vso|teamcity)?\[", line)]


def shown_as_text(text: str) -> None:
    assert obeyed_by_a_runner(text) == []
    assert {unicodedata.category(letter) for letter in text if letter not in "\n\t"} & {"Cc", "Cs", "Zl", "Zp"} == set()
    assert "\u202e" not in text
    text.encode()


def finding(text: str) -> Finding:
    return Finding(text, "vllm.running", text, text, text, text)


def unreachable(text: str) -> SteelyardError:
    return HostUnreachable(where=text, address=text, why=text)


def reports_of(folder: Path, texts: list[str]) -> dict[str, str]:
    """Every report on a site whose hosts say these texts, as `steelyard drift --report` writes it."""
    formats = ("github", "gitlab", "junit", "markdown", "sarif")
    wanted = RequestedReports(tuple((name, folder / name) for name in formats))
    drift = DriftReport(tuple(map(finding, texts)), ())
    wanted.write(folder, drift, tuple(texts), tuple(map(unreachable, texts)), Screen().said)
    return {name: (folder / name).read_text() for name in formats}


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_host_says_is_text_in_every_report(tmp_path: Path, text: str) -> None:
    reports = reports_of(tmp_path, [text])
    said = harmless(text)
    (gitlab, failed) = json.loads(reports["gitlab"])
    assert gitlab["description"] == f"{said}: {said}: declared: {said}; live: {said}. Fix: {said}"
    assert said in failed["description"]
    sarif = json.loads(reports["sarif"])["runs"][0]
    message = sarif["results"][0]["message"]["text"]
    assert message.replace("] (", "](") == gitlab["description"].replace("] (", "](")
    assert "](" not in message + sarif["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    suite = ElementTree.fromstring(reports["junit"])[0]
    assert suite.get("name") == said.replace("\ufffe", "?").replace("\uffff", "?")
    assert len(ElementTree.fromstring(reports["junit"])) == 1
    for name in ("gitlab", "sarif", "junit", "markdown"):
        shown_as_text(reports[name])


@pytest.mark.parametrize("text", HOSTILE)
def test_a_workflow_command_is_one_line_for_each_finding_and_no_other(tmp_path: Path, text: str) -> None:
    lines = reports_of(tmp_path, [text])["github"].splitlines()
    assert len(lines) == 2, "a finding, and a host that could not be looked at"
    for line in lines:
        command = re.fullmatch(r"::error title=([^,:]*),file=([^,:]*)::(.*)", line)
        assert command is not None, line
        assert "##[" not in line
    data = re.sub("%0[AD]|%25", lambda code: {"%0A": "\n", "%0D": "\r", "%25": "%"}[code[0]], command[3])
    assert harmless(text) in data


def cells_of(document: str) -> list[list[str]]:
    """Rows of the tables of a page; each cell by what a reader sees. Fails on anything that is more than text."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(document):
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline" and token.level == 4:
            kinds = {child.type for child in token.children or []}
            assert kinds <= {"text", "code_inline"}, (kinds, token.content)
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


@given(TEXTS)
def test_a_cell_of_markdown_shows_the_text_and_nothing_else(text: str) -> None:
    cell = _cell(text)
    rows = cells_of(f"| a | b |\n|---|---|\n| {cell} | end |\n")
    assert len(rows) == 2
    assert rows[1][1] == "end"
    seen = " ".join(harmless(text).split())
    assert rows[1][0].replace("`", "").split() == seen.replace("`", "").split()


@pytest.mark.parametrize("text", HOSTILE)
def test_nobody_is_called_by_a_report_and_no_line_of_it_is_a_heading(tmp_path: Path, text: str) -> None:
    document = reports_of(tmp_path, [text])["markdown"]
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(document):
        kinds = {child.type for child in token.children or []}
        assert kinds <= {"text", "code_inline"}, (kinds, token.content)
        for child in token.children or []:
            if child.type == "text":
                assert not re.search(r"(?<!\w)[@!]\w|(?<!\w)#\d", child.content), child.content
    headings = [line for line in document.splitlines() if line.startswith("#")]
    assert headings == ["# Drift: 1 findings on 1 hosts", "## Not looked at"]


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(text: str) -> Elements:
    read = Elements()
    measure = Measure(text, Grade.LOW, text, text, text, 1.0, 2.0)
    read.feed(page({text: [measure]}, {text + "2": text}))
    return read


@given(TEXTS)
def test_a_page_has_the_same_elements_whatever_hosts_say(text: str) -> None:
    read = page_of(text)
    assert read.elements == page_of("plain").elements
    assert one_line(text) in read.text
    read.text.encode()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_screen_shows_text(capsys: pytest.CaptureFixture[str], text: str) -> None:
    screen = Screen(no_color=True)
    screen.out(text)
    screen.note(text)
    screen.error(unreachable(text))
    print_error(unreachable(text), as_json=True)
    table = made_table("HOST", "WHAT")
    table.add_row(text, text)
    table.add_row("x" * 50 + text, "y" * 120 + text)  # folded wherever it is too wide
    screen.tables(table)
    screen.document("status", {"hosts": [text]})
    show_logs(screen, [LogEntry(5, text, text, f"one\n{text}")], 3, coloured=False)
    shown = capsys.readouterr()
    shown_as_text(shown.out)
    shown_as_text(shown.err)


@given(TEXTS)
def test_nothing_of_a_text_is_obeyed(text: str) -> None:
    for shown in (harmless(text), one_line(text), harmless(f"x: {text}"), one_line(harmless(text))):
        shown_as_text(shown)
    assert "\n" not in one_line(text)
    assert harmless(harmless(text)) == harmless(text)
    document = json.dumps({"text": text})
    assert json.loads(no_commands_in_json(document)) == {"text": text}
    assert obeyed_by_a_runner(no_commands_in_json(document)) == []


def test_words_that_only_look_like_commands_stay() -> None:
    for text in ("::1 is the address", "a::b::c", "fe80::1", "## heading", "x = [1]", "C# [x]", "std::vector"):
        assert harmless(text) == text


def test_advice_is_text_too(capsys: pytest.CaptureFixture[str]) -> None:
    from steelyard.render.text import advice_lines

    screen = Screen()
    screen.lines(advice_lines([Advice(text, "x", text, text) for text in HOSTILE]))
    shown_as_text(capsys.readouterr().out)
