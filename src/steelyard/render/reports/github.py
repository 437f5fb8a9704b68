"""GitHub Actions' workflow commands: each finding is an annotation of the run."""

from __future__ import annotations

from . import Report, in_command

MOST = 10  # GitHub shows ten errors and ten warnings of a step; the last one counts the rest


def write(report: Report) -> str:
    lines = [
        _command(
            str(finding.severity),
            f"{finding.host}: {finding.subject}",
            report.inventory,
            f"declared: {finding.declared}; live: {finding.live}\nfix: {finding.fix}",
        )
        for finding in report.drifted.findings
    ]
    lines += [
        _command("error", f"{error.where}: not looked at", report.inventory, f"{error}\nfix: {error.remedy}")
        for error in report.errors
    ]
    if len(lines) > MOST:
        more = f"{len(lines) - MOST + 1} more findings are in the report"
        lines = [*lines[: MOST - 1], _command("error", "more drift", report.inventory, more)]
    return "".join(lines)


def _command(level: str, title: str, file: str, message: str) -> str:
    return f"::{level} title={_property(title)},file={_property(file)}::{in_command(message)}\n"


def _property(text: str) -> str:
    return in_command(text).replace(":", "%3A").replace(",", "%2C")
