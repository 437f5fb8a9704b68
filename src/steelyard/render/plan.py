"""Results of `plan`, `apply`, `drift` and `doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .documents import drift_document, plan_document
from .text import advice_lines, consequence_lines, finding_lines, hosts_named, plural, traffic_lines
from .width import MarkedLine, wrapped

if TYPE_CHECKING:
    from steelyard.api.finding import Finding
    from steelyard.drift.report import DriftReport
    from steelyard.engine.plan import Plan
    from steelyard.errors import Exit, SteelyardError

    from .screen import Screen


def plan_text(screen: Screen, plan: Plan) -> str:
    """The summary and the whole plan as people read them, diffs and commands uncut; masked before a line is cut."""
    from .plan_details import detail_lines
    from .plan_summary import summary_lines

    summary = [*summary_lines(plan, screen.clean), MarkedLine(screen.clean(planned_sums(plan)))]
    lines = [*summary, MarkedLine(""), *detail_lines(plan, screen.said)]
    return "\n".join(line.text for line in lines)


def planned_sums(plan: Plan) -> str:
    """The line that ends a plan."""
    if not plan.pending and not plan.errors:
        return f"plan: no changes: {plural(len(plan.hosts), 'host')} as declared"
    from .plan_summary import changes_on_hosts, sums

    return sums(plan, f"plan: {changes_on_hosts(plan)}")


def applied_sums(plan: Plan) -> str:
    """The line that ends an apply: what was done. How long clients waited is not the plan's to say."""
    from .plan_summary import sums

    changed = sum(1 for host in plan.hosts if host.tasks)
    done = f"{plural(plan.changes, 'task')} changed on {plural(changed, 'host')} of {len(plan.hosts)}"
    return sums(plan, done, waiting=False)


def apply_question(plan: Plan) -> str:
    """The question before an apply: it says what restarts, stops and goes, and how long clients may wait."""
    from .plan_summary import changes_on_hosts, sums

    return f"Apply {sums(plan, changes_on_hosts(plan))}?"


def show_plan(screen: Screen, plan: Plan) -> None:
    """Show the summary, or with -v every command with its diff; then what all comes to, and advice."""
    if screen.json:
        screen.document("plan", plan_document(plan, plan.exit, advice=screen.advice))
        return
    if not screen.quiet and (plan.pending or plan.errors):
        screen.marked(_plan_lines(screen, plan))
    _show_end(screen, plan, planned_sums(plan))


def _plan_lines(screen: Screen, plan: Plan) -> list[MarkedLine]:
    """The summary, or with -v every command; a plan in sync, which most are, loads neither."""
    from .plan_details import detail_lines
    from .plan_summary import summary_lines

    return detail_lines(plan, screen.said) if screen.verbose else summary_lines(plan, screen.clean, screen.width)


def show_applied(screen: Screen, plan: Plan, code: Exit, stopped: SteelyardError | None = None) -> None:
    """Show what was changed, what failed, and `stopped`: what ended the whole run before its end."""
    if screen.json:
        screen.document("apply", plan_document(plan, code, stopped, screen.advice))
        return
    _show_end(screen, plan, applied_sums(plan), stopped)


def _show_end(screen: Screen, plan: Plan, last: str, stopped: SteelyardError | None = None) -> None:
    """Failures, the `last` line, advice, and with -v what each host cost."""
    screen.failures()
    if stopped is not None:
        screen.error(stopped)
    screen.lines([last] if screen.quiet else wrapped(screen.clean(last), screen.width, "    "))
    for line in advice_lines([*plan.advice, *screen.advice], bool(screen.verbose)):
        for part in wrapped(screen.clean(line.strip()), screen.width, "    ", first=_indent(line)):
            screen.note(part)
    _show_traffic(screen, plan)


def _show_traffic(screen: Screen, plan: Plan) -> None:
    if screen.verbose:
        for line in traffic_lines(plan.hosts):
            screen.note(line)


def show_drift(screen: Screen, plan: Plan, report: DriftReport, code: Exit) -> None:
    """Show every finding with its fix, and how many are excepted. `plan` says which hosts were looked at."""
    if screen.json:
        screen.document("drift", drift_document(report, plan, code))
        return
    silent = [host.host for host in plan.hosts if host.error is not None]
    looked_at = len(plan.hosts) - len(silent)
    lines = finding_lines(report.findings, bool(screen.verbose), report.consequences_of)
    screen.lines(_fitting(screen, lines))
    screen.failures()
    for error in plan.errors:
        led_to = consequence_lines(error.where, report.consequences_of(error.where), bool(screen.verbose))
        screen.lines(_fitting(screen, led_to))
    excepted = f", {len(report.excepted)} excepted" if report.excepted else ""
    if report.findings:
        count = plural(len(report.findings), "finding")
        hosts = plural(len({finding.host for finding in report.findings}), "host")
        screen.out(f"drift: {count} on {hosts} of {looked_at} looked at{excepted}")
    elif silent:
        unseen = f"{plural(len(silent), 'host')} not looked at: {hosts_named(silent)}"
        screen.out(f"drift: no finding on {plural(looked_at, 'host')}{excepted}, {unseen}")
    else:
        screen.out(f"no drift: {plural(looked_at, 'host')} as declared{excepted}")
    _show_traffic(screen, plan)


def show_findings(screen: Screen, command: str, findings: Sequence[Finding], all_well: str) -> None:
    """Show every finding with its fix, or the sentence `all_well` where there is none."""
    if screen.json:
        screen.document(command, {"findings": [finding.as_json() for finding in findings]})
        return
    screen.lines(_fitting(screen, finding_lines(findings, bool(screen.verbose))))
    screen.out(plural(len(findings), "finding") if findings else all_well)


def _fitting(screen: Screen, lines: Sequence[str]) -> list[str]:
    """Lines of findings as wide as they may be; a fix stays on one line, to be copied."""
    return [
        part
        for line in lines
        for part in (
            [line]
            if line.startswith("    fix: ")
            else wrapped(screen.clean(line.strip()), screen.width, "        ", first=_indent(line))
        )
    ]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
