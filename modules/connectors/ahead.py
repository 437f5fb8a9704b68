"""Steps of several tasks that a host was sent at once, and what comes of them, one after the other.

The host asks again what each task's plan rests on and runs what follows from it; the first answer that is another one,
the first command that fails, or our word between two tasks ends it. The tasks themselves are then run as ever on the
controller, and each question and command of theirs finds here what the host made of it, as soon as the host has said
so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from steelyard.api.foreseen import Order, Question, TaskAhead

from . import frames
from .frames import CommandAnswer, Tell, Word, split_login

if TYPE_CHECKING:
    from pyinfra.api.command import StringCommand

MOST_BYTES = 256 << 10  # of commands: more might fill the buffers on the way while the host still works


class Begins(NamedTuple):
    """The beginning of a task."""


class Asked(NamedTuple):
    """A question with the answer that its task was planned with."""

    text: str
    known: CommandAnswer


class Ordered(NamedTuple):
    """A command as the shell gets it."""

    text: str
    stdin: str | None
    limit_s: int


Step = Begins | Asked | Ordered


class TookAnotherWay(Exception):
    """The task that is run asks or does something else than was sent; the argument is what the host did beyond it."""


class Ahead:
    """Steps that one host was sent. Every method raises TookAnotherWay.

    `lines` are the host's; `waits` is told for how many seconds the next frame may take; an answer may take `asked_s`.
    """

    def __init__(
        self,
        marker: str,
        steps: Iterable[Step],
        lines: Iterator[bytes],
        waits: Callable[[float], None],
        asked_s: float,
    ) -> None:
        self._marker, self._steps, self._lines = marker, deque(steps), lines
        self._waits, self._asked_s = waits, asked_s
        self.is_over = False

    def begins(self) -> bool:
        """Wait for the next task; return whether the host begins it."""
        self._pass_questions()
        if self.is_over:
            return False
        if not self._steps or not isinstance(self._steps[0], Begins):
            self._other_way()
            return False
        self._steps.popleft()
        return self._next(self._asked_s) is Word.TASK_BEGINS

    def answer(self, text: str) -> CommandAnswer | None:
        """Return what the host answered to this question; None where it did not get there."""
        while not self.is_over:
            step = self._steps[0] if self._steps else None
            if not isinstance(step, Asked):
                self._other_way()
                return None
            said = self._asked(step)
            if said is not None and step.text == text:
                return said
        return None

    def outcome(self, text: str, stdin: str | None, limit_s: int, tell: Tell | None) -> CommandAnswer | None:
        """Return what became of this command; None where the host did not get there."""
        self._pass_questions()
        if self.is_over:
            return None
        if not self._steps or self._steps[0] != Ordered(text, stdin, limit_s):
            self._other_way()
            return None
        self._steps.popleft()
        said = self._next(limit_s + 30, frames.KEPT_OF_AN_ORDER, tell)
        if not isinstance(said, CommandAnswer):
            return None
        if said.status != 0:
            self._end()
        return said

    def end(self) -> None:
        """Wait for the last word."""
        self._pass_questions()
        if not self.is_over:
            self._other_way()

    def _pass_questions(self) -> None:
        """Pass over what was asked for the task, and what the task did not ask this time."""
        while not self.is_over and self._steps and isinstance(step := self._steps[0], Asked):
            self._asked(step)

    def _asked(self, step: Asked) -> CommandAnswer | None:
        self._steps.popleft()
        said = self._next(self._asked_s)
        if isinstance(said, CommandAnswer):
            self._end()
            return said
        return step.known if said is Word.AS_KNOWN else None

    def _other_way(self) -> None:
        """The rest is nobody's: harmless where it was never run."""
        while not self.is_over:
            step = self._steps.popleft() if self._steps else None
            said = self._next(step.limit_s + 30 if isinstance(step, Ordered) else self._asked_s)
            if isinstance(step, Ordered) and said is not None:
                self._end()
                raise TookAnotherWay(step.text)

    def _end(self) -> None:
        """Read to the last word, which is next: the host runs nothing further."""
        while not self.is_over:
            self._next(self._asked_s)

    def _next(self, seconds: float, keep: int | None = None, tell: Tell | None = None) -> CommandAnswer | Word | None:
        self._waits(seconds)
        said = frames.read_frame(self._lines, self._marker, keep, tell)
        if said is None:
            self.is_over = True
            self._steps.clear()
        return said


@dataclass(frozen=True)
class Batch:
    """Steps of the first tasks that can go together, and the login that all of them are run as."""

    login: str
    tasks: tuple[tuple[Asked | Ordered, ...], ...]
    audits: tuple[str, ...]  # of the commands, in their order

    @property
    def steps(self) -> list[Step]:
        return [step for task in self.tasks for step in (Begins(), *task)]

    def script(self, marker: str) -> str:
        """Return what the shell is to read."""
        number, audits, lines = 0, iter(self.audits), [frames.begin_ahead()]
        for task in self.tasks:
            lines.append(frames.task_ahead(marker))
            for step in task:
                _, inner = split_login(step.text)
                if isinstance(step, Asked):
                    lines.append(frames.premise(inner, marker, number, step.known))
                    number += 1
                else:
                    lines.append(frames.order_ahead(inner, marker, step.stdin, step.limit_s, next(audits)))
        return "".join([*lines, frames.over(marker)])


def batch_of(
    tasks: Sequence[TaskAhead],
    text_of: Callable[[StringCommand, Mapping[str, Any]], str | None],
    known: Callable[[str], CommandAnswer | None],
    limit_s: int,
) -> Batch | None:
    """Put together the tasks that go one way, as far as they do; None where not even the first one can go ahead.

    What was asked since the last command is not asked again. `known` gives the answers that tasks were planned with.
    """
    login, taken, audits, size = None, list[tuple[Asked | Ordered, ...]](), list[str](), 0
    fresh: set[str] = set()
    for task in tasks:
        steps, noted, asked_now = list[Asked | Ordered](), list[str](), set(fresh)
        for step in task.steps:
            made = _step(step, text_of, known, limit_s)
            if made is None or (login is not None and split_login(made.text)[0] != login):
                break
            login = split_login(made.text)[0]
            if isinstance(made, Ordered):
                assert isinstance(step, Order)
                noted.append(step.audit)
                asked_now = set()
                size += len(made.text) + len(made.stdin or "")
            elif made.text in asked_now:
                continue
            else:
                asked_now.add(made.text)
            steps.append(made)
        else:
            if size > MOST_BYTES and taken:
                break
            taken.append(tuple(steps))
            audits += noted
            fresh = asked_now
            continue
        break
    return Batch(login or "", tuple(taken), tuple(audits)) if taken else None


def _step(
    step: Question | Order,
    text_of: Callable[[StringCommand, Mapping[str, Any]], str | None],
    known: Callable[[str], CommandAnswer | None],
    limit_s: int,
) -> Asked | Ordered | None:
    if isinstance(step, Question):
        answer = known(step.text)
        return Asked(step.text, answer) if answer is not None else None
    text = text_of(step.command, step.arguments)
    limit = int(step.arguments.get("_timeout") or limit_s)
    return Ordered(text, joined(step.arguments.get("_stdin")), limit) if text is not None else None


def joined(stdin: Any) -> str | None:
    """Return what pyinfra takes for standard input as one text."""
    if not stdin:
        return None
    return stdin if isinstance(stdin, str) else "\n".join(str(line).rstrip("\n") for line in stdin)
