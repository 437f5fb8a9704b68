"""Markdown: the text of an issue, a merge request note, or a job's summary page."""

from __future__ import annotations

from . import Report


def write(report: Report) -> str:
    found, excepted = report.drifted.findings, report.drifted.excepted
    hosts = len({finding.host for finding in found})
    title = f"{len(found)} findings on {hosts} hosts" if found else "no drift"
    lines = [f"# Drift: {title}", ""]
    lines += [f"`{report.inventory}`, {report.made}: {len(report.looked_at)} hosts looked at, {len(report.errors)} not.", ""]
    if found:
        lines += ["| host | what | declared | live | since | fix |", "|---|---|---|---|---|---|"]
        for finding in found:
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
    """Live text cannot end a cell, nor become markup."""
    for mark in ("\\", "|", "<", ">", "[", "]", "*", "_"):
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
