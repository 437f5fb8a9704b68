"""One sink for a command's output. Data goes to stdout, all else to stderr; `--json` gives one document and no more.

JSON documents carry `command` and `version`; their shapes are in docs/reference/json.md and a change is a contract.
"""

from __future__ import annotations

import json as jsonlib
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, assert_never

from steelyard.errors import Exit, SteelyardError, show
from steelyard.events import BytesMoved, Connecting, Event, HostFailed, Planning, Step, TaskChanged, TaskStarted

from .redaction import Redactor

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.table import Table

    from steelyard.engine.plan import HostPlan, Plan
    from steelyard.finding import Finding
    from steelyard.inventory.fleet import Fleet
    from steelyard.lab.fleet import HostReport

JSON_VERSION = 1
DIFF_LINES = 40  # of one file, in text; JSON holds all


def print_error(error: SteelyardError, as_json: bool) -> None:
    """For errors that end a command before it has a screen."""
    if as_json:
        print(jsonlib.dumps({"version": JSON_VERSION, **error.as_json()}))
    print(show(error), file=sys.stderr)


class Screen:
    """Chosen once: JSON, live terminal, or plain lines."""

    def __init__(self, *, json: bool = False, verbose: int = 0, quiet: bool = False, no_color: bool = False) -> None:
        self.json, self.verbose, self.quiet, self.no_color = json, verbose, quiet, no_color
        self.redactor = Redactor()
        self.terminal = sys.stderr.isatty() and not json and not quiet
        self._status: Status | None = None
        self._began: dict[tuple[str, str], tuple[float, int]] = {}

    # Where things go

    def out(self, text: str) -> None:
        self._still()
        print(self.redactor.mask(text))

    def note(self, text: str) -> None:
        if not self.quiet and not self.json:
            self._still()
            print(self.redactor.mask(text), file=sys.stderr)

    def error(self, error: SteelyardError) -> None:
        self._still()
        print(self.redactor.mask(show(error)), file=sys.stderr)

    def document(self, command: str, content: dict[str, Any]) -> None:
        self.out(jsonlib.dumps({"command": command, "version": JSON_VERSION, **content}, indent=1))

    def confirm(self, question: str) -> bool:
        """True for a yes; anything else, the end of input too, is a no."""
        self._still()
        try:
            return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            return False

    def _tables(self, *tables: Table | None) -> None:
        """Tables with an empty line between them; masked like everything else."""
        shown = [table for table in tables if table is not None]
        console = self._console()
        for number, table in enumerate(shown):
            with console.capture() as captured:
                console.print(table)
            lines = (line.rstrip() for line in self.redactor.mask(captured.get()).splitlines())
            print("\n".join([*([""] if number else []), *lines]))

    def _console(self) -> Console:
        from rich.console import Console

        wide = None if sys.stdout.isatty() else 160
        return Console(no_color=self.no_color, highlight=False, width=wide, soft_wrap=False)

    def _busy(self, text: str) -> None:
        if not self.terminal:
            return
        if self._status is None:
            from rich.console import Console
            from rich.status import Status

            self._status = Status(text, console=Console(stderr=True, no_color=self.no_color))
            self._status.start()
        self._status.update(text)

    def _still(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    # Events

    def event(self, event: Event) -> None:
        match event:
            case Connecting(hosts):
                self._busy(f"connecting to {_plural(hosts, 'host')}")
            case Planning(hosts):
                self._busy(f"looking at {_plural(hosts, 'host')}")
            case TaskStarted(title, index, total):
                self._busy(f"[{index}/{total}] {title}")
            case BytesMoved(host, what, done, total):
                self._moved(host, what, done, total)
            case TaskChanged(host, title, subjects):
                self.note(f"{host}: {title}: {', '.join(subjects)}")
            case HostFailed(host, error, words):
                for line in words:
                    self.note(f"{host}: | {line}")
                if not self.json:
                    self.error(error)
            case Step(text):
                self.note(text)
            case _:
                assert_never(event)

    def _moved(self, host: str, what: str, done: int, total: int) -> None:
        """Share, rate and time left of one stream; the rate is since its first bytes."""
        began = self._began.setdefault((host, what), (time.monotonic(), done))
        seconds = time.monotonic() - began[0]
        rate = (done - began[1]) / seconds if seconds > 0.2 else 0.0
        left = f", {rate / 1e6:.0f} MB/s, {(total - done) / rate:.0f} s left" if rate else ""
        self._busy(f"{host}: {what}: {done / 1e6:.0f} of {total / 1e6:.0f} MB{left}")

    # Results

    def plan(self, plan: Plan) -> None:
        if self.json:
            self.document("plan", plan_json(plan, plan.exit))
            return
        for host in plan.hosts:
            self._host_plan(host)
        self.out(_summary(plan, "would change"))
        self._traffic(plan)

    def _host_plan(self, host: HostPlan) -> None:
        if host.error is not None:
            known = "not planned" if not host.tasks else "planned up to an error"
            self.out(f"{host.host}: {known}: {host.error.sentence.format(**vars(host.error))}")
        for task in host.tasks:
            self.out(f"{host.host}: {task.title}")
            for command in task.commands:
                reason = f"  [{command.live} -> {command.declared}]" if command.declared else ""
                text = command.text if len(command.text) < 160 or self.verbose else command.text[:157] + "..."
                first = text.splitlines()[0] if text and not self.verbose else text
                self.out(f"    {first}{reason}")
                shown = command.diff if self.verbose else command.diff[:DIFF_LINES]
                for line in shown:
                    self.out(f"        {line}")
                if len(shown) < len(command.diff):
                    self.out(f"        ... {len(command.diff) - len(shown)} more lines (-v shows all)")
        for unknown in host.unknown:
            self.out(f"{host.host}: unknown: {unknown.what}: {unknown.because}; settled by {unknown.settled_by}")

    def applied(self, done: Plan) -> None:
        if self.json:
            self.document("apply", plan_json(done, Exit.HOST_FAILED if done.errors else Exit.DONE))
            return
        self.out(_summary(done, "changed"))
        self._traffic(done)

    def drift(self, plan: Plan, findings: Sequence[Finding]) -> None:
        if self.json:
            errors = [error.as_json() for error in plan.errors]
            found = {"findings": [finding.as_json() for finding in findings], "errors": errors, "exit": int(plan.exit)}
            self.document("drift", {**found, "hosts": [host_json(host) for host in plan.hosts]})
            return
        looked = len(plan.hosts) - len(plan.errors)
        self._findings(findings)
        if findings:
            hosts = len({finding.host for finding in findings})
            self.out(f"drift: {_plural(len(findings), 'finding')} on {_plural(hosts, 'host')} of {looked} looked at")
        else:
            self.out(f"no drift: {_plural(looked, 'host')} as declared")
        self._traffic(plan)

    def findings(self, command: str, findings: Sequence[Finding], well: str) -> None:
        if self.json:
            self.document(command, {"findings": [finding.as_json() for finding in findings]})
            return
        self._findings(findings)
        self.out(_plural(len(findings), "finding") if findings else well)

    def _findings(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self.out(f"{finding.host}: {finding.verdict}: {finding.subject}  ({finding.code})")
            self.out(f"    declared: {finding.declared}; live: {finding.live}")
            self.out(f"    fix: {finding.fix}")

    def _traffic(self, plan: Plan) -> None:
        if not self.verbose:
            return
        for host in plan.hosts:
            if host.traffic is not None:
                cost = host.traffic
                self.note(
                    f"{host.host}: ssh: {_plural(cost.connections, 'connection')}, {_plural(cost.channels, 'channel')}, "
                    f"{_plural(cost.round_trips, 'round trip')} for {_plural(cost.facts, 'fact')}"
                )

    def status(self, fleet: Fleet, answers: dict[str, Any], errors: dict[str, SteelyardError]) -> None:
        self._still()
        if self.json:
            hosts = [
                {"host": host.name, "groups": host.groups, "address": host.address, "status": answers.get(host.name),
                 "error": errors[host.name].as_json() if host.name in errors else None}
                for host in fleet.hosts if host.name in answers or host.name in errors
            ]  # fmt: skip
            self.document("status", {"hosts": hosts})
            return
        from .tables import gpu_table, host_table, service_table

        self._tables(host_table(fleet, answers, errors), gpu_table(answers), service_table(answers))

    def dify(self, where: str, provider: str, models: Sequence[dict[str, Any]]) -> None:
        if self.json:
            kept = ("model", "model_type", "status", "model_properties")
            found = [{key: model[key] for key in kept} for model in models]
            self.document("dify ls", {"dify": where, "provider": provider, "models": found})
            return
        from .tables import dify_table

        self.out(f"{where} ({provider})")
        self._tables(dify_table(models))

    def lab(self, name: str, reports: Sequence[HostReport]) -> None:
        if self.json:
            from dataclasses import asdict

            self.document("lab status", {"lab": name, "hosts": [asdict(report) for report in reports]})
            return
        from .tables import lab_table

        self._tables(lab_table(reports))


def plan_json(plan: Plan, ended: Exit) -> dict[str, Any]:
    return {"hosts": [host_json(host) for host in plan.hosts], "changes": plan.changes, "exit": int(ended)}


def host_json(host: HostPlan) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "host": host.host,
        "in_sync": host.in_sync,
        "tasks": [{"code": task.code, **asdict(task)} for task in host.tasks],
        "unknown": [asdict(unknown) for unknown in host.unknown],
        "error": host.error.as_json() if host.error else None,
        "last_words": list(host.last_words),
        "ssh": asdict(host.traffic) if host.traffic else None,
    }


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _summary(plan: Plan, verb: str) -> str:
    changed = sum(1 for host in plan.hosts if host.tasks)
    unknown = sum(len(host.unknown) for host in plan.hosts)
    parts = [f"{_plural(plan.changes, 'task')} {verb} on {_plural(changed, 'host')} of {len(plan.hosts)}"]
    if unknown:
        parts.append(f"{unknown} unknown")
    if plan.errors:
        names = ", ".join(error.where for error in plan.errors[:3])
        parts.append(f"{_plural(len(plan.errors), 'host')} failed ({names})")
    return "; ".join(parts)
