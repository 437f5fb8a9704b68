"""Markdown: the text of an issue, a merge request note, or a job's summary page."""

from __future__ import annotations

import re

from steelyard.errors.visible import harmless

from . import Report

CODE = re.compile(r"(`[^`]+`)")
CALLS = re.compile(r"((?<![\w`])[@#!][A-Za-z0-9][\w/-]*)")  # people, issues, merge requests
MARKS = re.compile(r"[\\|<>\[\]*_`~!]|^[#+=-]|(?<=^\d)[.)]|(?<=^\d\d)[.)]")


def write(report: Report) -> str:
    findings, excepted = report.drifted.findings, report.drifted.excepted
    hosts = len({finding.host for finding in findings})
    nothing = "no finding, and not every host looked at" if report.errors else "no drift"
    title = f"{len(findings)} findings on {hosts} hosts" if findings else nothing
    lines = [f"# Drift: {title}", ""]
    lines += [
        f"{_cell(report.inventory)}, {report.made}: {len(report.looked_at)} hosts looked at, {len(report.errors)} not.",
        "",
    ]
    if findings:
        lines += ["| host | what | declared | live | since | fix |", "|---|---|---|---|---|---|"]
        for finding in findings:
            cells = (finding.host, finding.subject, finding.declared, finding.live, finding.since or "now", finding.fix)
            lines.append("| " + " | ".join(map(_cell, cells)) + " |")
        lines.append("")
    if report.errors:
        lines += ["## Not looked at", ""]
        lines += [f"- {_cell(str(error))}. Fix: {_cell(error.remedy)}" for error in report.errors]
        lines.append("")
    if excepted:
        lines += ["## Excepted", "", "| host | what | reason | owner | until |", "|---|---|---|---|---|"]
        for finding, cover in excepted:
            entry = cover.entry
            covered = (finding.host, finding.subject, entry.reason, entry.owner, str(entry.expires))
            lines.append("| " + " | ".join(map(_cell, covered)) + " |")
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """The text so that it ends no cell and becomes no markup; what stands between backticks is code, as we write it.

    Names with `@` or `#` before them would call people and issues.
    """
    parts = CODE.split(" ".join(harmless(text).split()))
    return "".join(_code(part) if number % 2 else _plain(part) for number, part in enumerate(parts))


def _plain(text: str) -> str:
    calls = CALLS.split(text)
    return "".join(_code(f"`{part}`") if number % 2 else _escaped(part) for number, part in enumerate(calls))


def _escaped(text: str) -> str:
    return MARKS.sub(r"\\\g<0>", text.replace("&", "&amp;"))


def _code(span: str) -> str:
    """Code, in which nothing but the end of a cell is markup."""
    return span.replace("|", r"\|")
