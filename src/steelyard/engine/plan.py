"""A plan as values: per host, each task with the commands it would run, and why. Built by `session`, shown by
`render`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyinfra.api.command import FileDownloadCommand, FileUploadCommand, FunctionCommand, PyinfraCommand, StringCommand

from steelyard.api.advice import Advice
from steelyard.api.change import Change, Effect, FileWrite, Refusal
from steelyard.api.finding import Finding, Verdict
from steelyard.api.outcome import HostOutcome, outcome_of
from steelyard.api.unknown import Unknown
from steelyard.errors import Exit, SteelyardError

NO_ROLE = "deploy"  # of a task that a deploy file itself has


@dataclass(frozen=True)
class PlannedCommand:
    """One command of a task. `text` is masked; `subject` is the thing it changes; `diff` is empty for secrets."""

    text: str
    subject: str
    declared: str
    live: str
    diff: tuple[str, ...] = ()
    refusal: str | None = None
    effect: Effect = Effect.CHANGE
    outage_s: float | None = 0.0
    depends_on: tuple[str, ...] = ()  # things, as of `Finding`
    fix: str | None = None  # what mends it where an apply would not
    error: SteelyardError | None = None  # what a refusal says, where that is one of ours


@dataclass(frozen=True)
class Task:
    """A task that would change its host."""

    role: str
    name: str
    commands: tuple[PlannedCommand, ...]

    @property
    def title(self) -> str:
        return f"{self.role} | {self.name}"

    @property
    def code(self) -> str:
        """`role.task`, stable as long as the task keeps its name."""
        letters = "".join(letter if letter.isalnum() else "-" for letter in self.name.lower())
        return f"{self.role}.{'-'.join(word for word in letters.split('-') if word)}"


@dataclass(frozen=True)
class HostTraffic:
    """SSH cost of one host in one run."""

    connections: int
    channels: int
    round_trips: int
    facts: int


@dataclass(frozen=True)
class HostPlan:
    """One host's plan, or what it went through. With `error` set, tasks are those known before the error."""

    host: str
    tasks: tuple[Task, ...]
    in_sync: int
    unknown: tuple[Unknown, ...] = ()
    error: SteelyardError | None = None
    last_words: tuple[str, ...] = ()
    traffic: HostTraffic | None = None
    checks: tuple[Finding, ...] = ()  # what live checks of roles found; drift asks for them
    skipped: bool = False
    advice: tuple[Advice, ...] = ()  # no change, and nothing unknown
    more_errors: tuple[SteelyardError, ...] = ()  # of tasks that did not need the one that failed first

    @property
    def outcome(self) -> HostOutcome:
        if self.error is not None:
            return outcome_of(self.error)
        if self.skipped:
            return HostOutcome.SKIPPED
        if self.tasks:
            return HostOutcome.CHANGES
        return HostOutcome.UNKNOWN if self.unknown else HostOutcome.IN_SYNC


@dataclass(frozen=True)
class Plan:
    """Plans of all selected hosts, in inventory order."""

    hosts: tuple[HostPlan, ...]

    @property
    def changes(self) -> int:
        return sum(len(host.tasks) for host in self.hosts)

    @property
    def pending(self) -> bool:
        """Whether something would change, or cannot be known yet: an apply has something to do."""
        return any(host.tasks or host.unknown for host in self.hosts)

    @property
    def advice(self) -> list[Advice]:
        return [advice for host in self.hosts for advice in host.advice]

    @property
    def errors(self) -> list[SteelyardError]:
        return [error for host in self.hosts if host.error is not None for error in (host.error, *host.more_errors)]

    @property
    def refused(self) -> list[SteelyardError]:
        """Errors of ours that refusals among the changes say."""
        commands = (command for host in self.hosts for task in host.tasks for command in task.commands)
        return [command.error for command in commands if command.error is not None]

    def of(self, outcome: HostOutcome) -> list[HostPlan]:
        """Return the plans of hosts that came out so."""
        return [host for host in self.hosts if host.outcome is outcome]

    @property
    def exit(self) -> Exit:
        """Exit code: 3 where a host could not be planned, else 2 where something would change, else 0."""
        if self.errors:
            return Exit.HOST_FAILED
        return Exit.CHANGES if self.pending else Exit.DONE

    def findings(self, fix: str) -> list[Finding]:
        """Return each difference of each host and what live checks saw, sorted; `fix` is a command with `{host}`."""
        findings: list[Finding] = []
        for host in self.hosts:
            named: set[str] = set()  # a stopped proxy has not loaded its configuration either: one finding a thing
            for task in host.tasks:
                for command in task.commands:
                    if command.subject not in named:
                        named.add(command.subject)
                        findings.append(_finding(host.host, task, command, fix))
            for unknown in host.unknown:
                code = "unknown." + unknown.what.split()[0]
                findings.append(
                    Finding(
                        host.host, code, unknown.what, unknown.because, "unknown", unknown.settled_by, Verdict.UNKNOWN
                    )
                )
            findings += [check for check in host.checks if check.subject not in named]
        return sorted(findings)


def _finding(host: str, task: Task, command: PlannedCommand, fix: str) -> Finding:
    if command.refusal is not None:
        return Finding(host, task.code, command.subject, "possible", command.refusal, "see the reason", Verdict.BROKEN)
    declared, live = _first_difference(command.diff) or (command.declared, command.live)
    mended_by = command.fix or fix.format(host=host)
    return Finding(host, task.code, command.subject, declared, live, mended_by, depends_on=command.depends_on)


def _first_difference(diff: Sequence[str]) -> tuple[str, str] | None:
    """The first declared and the first live line that differ, and how many more; None without a diff."""
    added = [line[1:].strip() for line in diff if line.startswith("+") and not line.startswith("+++")]
    removed = [line[1:].strip() for line in diff if line.startswith("-") and not line.startswith("---")]
    if not removed:
        return None  # the file is missing, or lacks lines: its state says it better
    more = f" (and {len(added) + len(removed) - 2} more lines)" if len(added) + len(removed) > 2 else ""
    return (f"`{added[0]}`{more}" if added else "absent"), f"`{removed[0]}`"


def shown_command(command: PyinfraCommand) -> PlannedCommand:
    """Return a command as it is shown. Nothing secret passes: hidden values are masked, secret files have no diff."""
    if isinstance(command, Refusal):
        reason = command.reason
        return PlannedCommand(f"refuse: {reason}", reason, "", "", refusal=reason, error=command.error)
    if isinstance(command, FileWrite):
        shown = f"write {command.path}", command.path, command.declared, command.live, _diff(command)
        return PlannedCommand(*shown, effect=command.effect)
    if isinstance(command, Change):
        return PlannedCommand(
            command.get_masked_value(),
            command.subject,
            command.declared,
            command.live,
            effect=command.effect,
            outage_s=command.outage_s,
            depends_on=command.depends_on,
            fix=command.fix,
        )
    if isinstance(command, StringCommand):
        text = command.get_masked_value()
        return PlannedCommand(text, text[:80], "done", "not done")
    if isinstance(command, FileUploadCommand):
        return PlannedCommand(f"upload {command.dest}", command.dest, "this content", "another")
    if isinstance(command, FileDownloadCommand):
        return PlannedCommand(f"download {command.src}", command.src, "fetched", "not fetched")
    if isinstance(command, FunctionCommand):
        described = getattr(command, "subject", command.function.__name__)
        declared, live = getattr(command, "declared", "done"), getattr(command, "live", "not done")
        effect, outage_s = getattr(command, "effect", Effect.CHANGE), getattr(command, "outage_s", 0.0)
        return PlannedCommand(f"call {described}", described, declared, live, effect=effect, outage_s=outage_s)
    return PlannedCommand(repr(command), repr(command)[:80], "done", "not done")


def _diff(command: FileWrite) -> tuple[str, ...]:
    if command.secret or command.before is None:
        return ()
    try:
        old, new = command.before.decode().splitlines(), command.content.decode().splitlines()
    except UnicodeDecodeError:
        return ()
    return tuple(difflib.unified_diff(old, new, f"live {command.path}", f"declared {command.path}", lineterm="", n=1))


def split_title(names: Iterable[str]) -> tuple[str, str]:
    """Return role and task of pyinfra's `role | task`; the role is NO_ROLE where there is none."""
    title = sorted(names)[0]
    role, _, name = title.partition(" | ")
    return (role, name) if name else (NO_ROLE, role)


def task_of(names: Iterable[str], commands: Sequence[PyinfraCommand]) -> Task:
    """Return the task of these names with its commands as they are shown."""
    role, name = split_title(names)
    return Task(role, name, tuple(shown_command(command) for command in commands))
