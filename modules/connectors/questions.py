"""The facts of one host: answers that are remembered, and what else to ask when one has to be asked.

A question costs a round trip, however many go along. At the start of a look these are what the last one asked; after
that, and where there was none, what a host of the same groups learned to ask, or what a rehearsal of the deploy asks
with the answers that are known (`api.rehearsal`); after a command, a growing part of what this run's plan asked next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyinfra.connectors.util import CommandOutput, OutputLine

from steelyard.api.rehearsal import Known, Rehearsals
from steelyard.engine.prefetch import PrefetchList

from .frames import CommandAnswer, split_login

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyinfra.api.command import StringCommand
    from pyinfra.api.host import Host

MOST_REHEARSALS = 8  # of a host: a deploy whose questions they do not find is asked for one by one


class Questions:
    """Questions and answers of one host in one run.

    `text_of` gives a fact's whole command with its arguments; None where it goes another way than through the shell.
    """

    def __init__(self, host: Host, text_of: Callable[[StringCommand, Mapping[str, Any]], str | None]) -> None:
        self._host, self._text_of = host, text_of
        self._answers: dict[str, CommandAnswer] = {}
        self._list = PrefetchList.nowhere()
        self._listed = False  # whether the list of the last run was asked for
        self._rehearsals = MOST_REHEARSALS
        self._planned: dict[str, CommandAnswer] = {}  # the answers that the plan rests on
        self._ahead: int | None = None  # questions to add to the next one, doubling until a command; None: all

    def begin(self, kept: PrefetchList) -> None:
        """A connection was made; what the last run asked is known."""
        self._list = kept

    def save(self) -> None:
        """Keep what this run asked for the next one."""
        self._list.save()

    def end(self) -> None:
        """The look has ended, and nobody carries it out: of thousands of hosts nothing is to stay."""
        self._answers.clear()
        self._planned.clear()
        self._list = PrefetchList.nowhere()

    def forget(self, after_command: bool = False) -> None:
        """Drop every answer: the next question goes to the host. After a command only what comes next is asked along:
        another one may follow soon.
        """
        self._answers.clear()
        self._ahead = 0 if after_command else None

    def answer(self, text: str) -> CommandAnswer | None:
        """Return what the host answered; None where it has to be asked."""
        return self._answers.get(text)

    def remember(self, answers: Mapping[str, CommandAnswer]) -> None:
        self._answers.update(answers)

    def note(self, text: str) -> None:
        """The plan of this run asks it."""
        self._list.note(text)

    def keep(self, text: str, answer: CommandAnswer) -> None:
        """The plan, which is going to be carried out, rests on this answer."""
        self._planned[text] = answer

    def planned(self, text: str) -> CommandAnswer | None:
        """Return the answer that the plan rests on; None where it has none."""
        return self._planned.get(text)

    def one_by_one(self) -> None:
        """Ask for no more than is needed from here on: something in a batch ended the shell."""
        self._listed, self._rehearsals = True, 0

    def along(self, text: str, planning: bool, rehearsals: Rehearsals) -> list[str]:
        """Return the question with all that is to go with it: those of its login that have no answer yet."""
        login, _ = split_login(text)
        others = self._of_plan(text, rehearsals) if planning else self._of_apply(text)
        asked = (other for other in others if other not in self._answers and split_login(other)[0] == login)
        return list(dict.fromkeys([text, *asked]))

    def _of_plan(self, text: str, rehearsals: Rehearsals) -> list[str]:
        if not self._listed and self._list.expected:
            self._listed = True
            return list(self._list.expected)
        if rehearsals.run is None or self._rehearsals == 0:
            return []
        learned = rehearsals.learned(self._host)
        if text in learned:
            return list(learned)
        self._rehearsals -= 1
        asked: list[str] = []
        rehearsals.run(self._host, self._known(asked))
        rehearsals.learn(self._host, asked)
        return asked

    def _of_apply(self, text: str) -> list[str]:
        later = self._list.after(text)
        if self._ahead is not None:
            later = later[: self._ahead]
        self._ahead = max(1, (self._ahead or 0) * 2)
        return later

    def _known(self, asked: list[str]) -> Known:
        """What answers a rehearsal; what is not known is noted."""

        def known(command: StringCommand, arguments: Mapping[str, Any]) -> CommandOutput | None:
            text = self._text_of(command, arguments)
            if text is None:
                return None
            answer = self._answers.get(text)
            if answer is None:
                asked.append(text)
                return None
            return output_of(answer) if answer.status in (arguments.get("_success_exit_codes") or [0]) else None

        return known


def output_of(answer: CommandAnswer) -> CommandOutput:
    """Return an answer as pyinfra takes it."""
    lines = [OutputLine("stdout", line) for line in answer.stdout]
    return CommandOutput(lines + [OutputLine("stderr", line) for line in answer.stderr])
