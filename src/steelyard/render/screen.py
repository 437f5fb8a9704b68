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
from steelyard.events import BytesMoved, Event, HostFailed, Looking, Step, TaskChanged, TaskStarted, WaveStarted

from .documents import JSON_VERSION, drift_document, plan_document
from .progress import Streams
from .redaction import Redactor
from .text import error_lines, finding_lines, hosts_named, plan_lines, plural, summary, traffic_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.table import Table

    from steelyard.drift.drifted import Drifted
    from steelyard.engine.lock import Held
    from steelyard.engine.plan import Plan
    from steelyard.finding import Finding
    from steelyard.inventory.fleet import Fleet
    from steelyard.lab.fleet import HostReport
    from steelyard.preflight.verdict import Measure


def print_error(error: SteelyardError, as_json: bool) -> None:
    """For errors that end a command before it has a screen."""
    if as_json:
        print(jsonlib.dumps({"version": JSON_VERSION, **error.as_json()}))
    print(show(error), file=sys.stderr)


TELL_S = 60  # between lines about long work, where there is no terminal


class Screen:
    """Chosen once: JSON, live terminal, or plain lines."""

    def __init__(self, *, json: bool = False, verbose: int = 0, quiet: bool = False, no_color: bool = False) -> None:
        self.json, self.verbose, self.quiet, self.no_color = json, verbose, quiet, no_color
        self.redactor = Redactor()
        self.terminal = sys.stderr.isatty() and not json and not quiet
        self._status: Status | None = None
        self._failed: list[tuple[SteelyardError, tuple[str, ...]]] = []
        self._live = False  # changes are being made: a failure is told at once, and explained at the end
        self._streams = Streams()
        self._told = time.monotonic()

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

    def tables(self, *tables: Table | None) -> None:
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
            case Looking(done, total):
                self._busy(f"looking at {plural(total, 'host')}, {done} done")
            case WaveStarted(number, total, hosts):
                self.note(f"wave {number} of {total}: {hosts_named(hosts)}")
            case TaskStarted(title, number, total):
                self._live = True
                self._busy(f"[{number}/{total}] {title}")
            case BytesMoved(host, what, done, total):
                self._moved(host, what, done, total)
            case TaskChanged(host, title, subjects):
                self.note(f"{host}: {title}: {', '.join(subjects)}")
            case HostFailed(host, error, words):
                self._failed.append((error, words))
                if self._live:
                    self.note(f"{host}: failed; the reason follows at the end")
            case Step(text):
                self.note(text)
            case _:
                assert_never(event)

    def _moved(self, host: str, what: str, done: int, total: int) -> None:
        """All streams together and those behind; where there is no terminal, one line a minute."""
        self._streams.moved(host, what, done, total)
        if self.terminal:
            self._busy("\n".join(self._streams.lines(what)))
        elif time.monotonic() - self._told > TELL_S:
            self._told = time.monotonic()
            self.note(self._streams.lines(what)[0])

    # Results

    def plan(self, plan: Plan) -> None:
        if self.json:
            self.document("plan", plan_document(plan, plan.exit))
            return
        self._lines(plan_lines(plan, bool(self.verbose)))
        self.failures()
        self.out(summary(plan, "would change"))
        self._traffic(plan)

    def applied(self, done: Plan, ended: Exit, stopped: SteelyardError | None = None) -> None:
        if self.json:
            self.document("apply", plan_document(done, ended, stopped))
            return
        self.failures()
        if stopped is not None:
            self.error(stopped)
        self.out(summary(done, "changed"))
        self._traffic(done)

    def drift(self, plan: Plan, drifted: Drifted, ended: Exit) -> None:
        if self.json:
            self.document("drift", drift_document(drifted, plan, ended))
            return
        looked = len(plan.hosts) - len(plan.errors)
        self._lines(finding_lines(drifted.findings, bool(self.verbose)))
        self.failures()
        excepted = f", {len(drifted.excepted)} excepted" if drifted.excepted else ""
        if drifted.findings:
            hosts = len({finding.host for finding in drifted.findings})
            found = plural(len(drifted.findings), "finding")
            self.out(f"drift: {found} on {plural(hosts, 'host')} of {looked} looked at{excepted}")
        else:
            self.out(f"no drift: {plural(looked, 'host')} as declared{excepted}")
        self._traffic(plan)

    def findings(self, command: str, findings: Sequence[Finding], well: str) -> None:
        if self.json:
            self.document(command, {"findings": [finding.as_json() for finding in findings]})
            return
        self._lines(finding_lines(findings, bool(self.verbose)))
        self.out(plural(len(findings), "finding") if findings else well)

    def lock(self, locks: Sequence[Held], verb: str = "held") -> None:
        """Several where rollouts of several aliases run; `lock` of the document is the first."""
        if self.json:
            found = [{"keeper": held.keeper, "until": held.until, **held.origin.as_json()} for held in locks]
            self.document("lock", {"lock": found[0] if found else None, "locks": found, "verb": verb})
            return
        if not locks:
            self.out("nobody holds the lock")
        for held in locks:
            origin = held.origin
            self.out(f"{verb}: {origin.who} from {origin.host} (pid {origin.pid}) since {origin.since}: {origin.doing}")
            self.out(f"    kept on {held.keeper} until {held.until}")

    def preflight(self, measured: dict[str, list[Measure]], errors: dict[str, SteelyardError]) -> None:
        """Every measure in JSON; for people those that are not good, under each host's verdict."""
        from steelyard.preflight.verdict import Grade, worst

        if self.json:
            from dataclasses import asdict

            hosts = [
                {
                    "host": name,
                    "verdict": str(worst(measures)),
                    "measures": [{**asdict(each), "grade": str(each.grade)} for each in measures],
                }
                for name, measures in measured.items()
            ]
            self.document("preflight", {"hosts": hosts, "errors": [error.as_json() for error in errors.values()]})
            return
        for name, measures in measured.items():
            self.out(f"{name}: {worst(measures)}")
            for each in measures:
                if each.grade is not Grade.GOOD:
                    self.out(f"    {each.grade}: {each.name}: {each.live}; declared: {each.declared}\n        fix: {each.fix}")
        self.failures()

    def images(self, found: dict[str, dict[str, str]], errors: dict[str, SteelyardError]) -> None:
        """What became of each image on each mirror host."""
        if self.json:
            rows = [
                {"host": host, "image": image, "result": result}
                for host, each in found.items()
                for image, result in each.items()
            ]
            self.document("mirror images sync", {"images": rows, "errors": [error.as_json() for error in errors.values()]})
            return
        for host, each in found.items():
            for image, result in each.items():
                self.out(f"{host}: {image}: {result}")
        self.failures()

    def _lines(self, lines: Sequence[str]) -> None:
        if lines:
            self.out("\n".join(lines))

    def failures(self) -> None:
        """What went wrong with hosts, the same with several once; on stderr, whatever the result says on stdout."""
        self._still()
        for line in error_lines(self._failed, bool(self.verbose)):
            print(self.redactor.mask(line), file=sys.stderr)
        self._failed.clear()

    def _traffic(self, plan: Plan) -> None:
        if self.verbose:
            for line in traffic_lines(plan.hosts):
                self.note(line)

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

        self.tables(host_table(fleet, answers, errors), gpu_table(answers), service_table(answers))
        self.failures()

    def lab(self, name: str, reports: Sequence[HostReport]) -> None:
        if self.json:
            from dataclasses import asdict

            self.document("lab status", {"lab": name, "hosts": [asdict(report) for report in reports]})
            return
        from .tables import lab_table

        self.tables(lab_table(reports))
