"""SSH with one connection and one shell per host: facts cost one round trip together, and so do foreseen tasks.

Read pyinfra's own connector first: this one keeps its configuration, keys, jump hosts and agents, and changes five
things. (1) TCP_NODELAY: paramiko sets none, and Nagle then waits for delayed ACKs. (2) Facts and commands go down one
long-lived shell (`frames.py`, `shell.py`), opened through sudo once. (3) Answers of facts are remembered until the host
runs a command. (4) What is going to be asked is sent along as ONE script (`questions.py`). A wrong guess costs time,
never truth: what is not in it is asked for as usual, what is not asked for is dropped. (5) Tasks that can be foreseen
go several at once (`ahead.py`).
How a fact is told from a command: this connector wraps `get_fact` of its own host object, nothing of pyinfra's.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import gevent
from paramiko import SSHException
from paramiko.sftp import SFTPError
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.state import State, StateStage
from pyinfra.connectors.util import CommandOutput, make_unix_command_for_host

from steelyard.api.foreseen import Foreseen, Question, TaskAhead
from steelyard.api.host_error import HostError
from steelyard.api.host_report import FailedCommand
from steelyard.api.rehearsal import Rehearsals
from steelyard.api.run_slots import run_slot
from steelyard.api.sudo import sudo_arguments
from steelyard.engine.prefetch import PrefetchList
from steelyard.errors import (
    DidMore,
    FactFailed,
    SteelyardError,
)

from .ahead import Ahead, Asked, TookAnotherWay, batch_of, joined
from .frames import CommandAnswer, greeting, split_login, stop_file
from .piped_file import get_piped, put_piped
from .questions import Questions, output_of
from .shell import PasswordWrong, Shell, ShellRefused, enter
from .shells import SESSION_TRIES, ShellConnector

if TYPE_CHECKING:
    from .helper_stream import HelperStream

OWN_WAY = ("_get_pty", "_su_user", "_doas", "_dzdo", "_use_sudo_login", "_preserve_sudo_env")  # pyinfra runs these
NOT_IN_TEXT = ("_get_pty", "_timeout", "_stdin", "_success_exit_codes", "_sudo_password")
WATCH_S = 0.2
Found = TypeVar("Found")


class SteelyardConnector(ShellConnector):
    """pyinfra's SSH connector with one shell channel. Entry point `@steelyard/NAME`."""

    handles_execution = True

    def __init__(self, state: State, host: Host) -> None:
        super().__init__(state, host)
        self._asking = 0
        self._questions = Questions(host, self._text_of)
        self._ahead: Ahead | None = None
        self._original_get_fact = host.get_fact
        host.get_fact = self._get_fact  # type: ignore[method-assign]  # of this host alone

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield f"@steelyard/{name}", {"ssh_hostname": name}, []

    def _get_fact(self, *args: Any, **kwargs: Any) -> Any:
        self._asking += 1
        try:
            answer = self._original_get_fact(*args, **kwargs)
        finally:
            self._asking -= 1
        if self._raises and self.host in self.state.failed_hosts:
            # pyinfra goes on with a default, and an operation would act on it
            command, _, lines = self.report.failed or FailedCommand("a fact", "", [])
            why = lines[-1] if lines else "it answered what it should not"
            raise HostError(self.report.error or FactFailed(where=self.host.name, fact=f"`{command[:120]}`", why=why))
        return answer

    def connect(self) -> None:
        super().connect()
        self._questions.begin(PrefetchList.of(self.state, self.host))

    def disconnect(self) -> None:
        self._end_questions()
        super().disconnect()

    def _end_questions(self) -> None:
        stage = self.state.current_stage
        if not self.report.error and stage >= StateStage.Prepare:
            self._questions.save()
        if stage == StateStage.Prepare:
            self._questions.end()
            self._asked = []

    def again(self) -> None:
        super().again()
        self.clear_cache()

    def _refuse(self, error: SteelyardError) -> Any:
        self._ahead = None
        super()._refuse(error)

    # Facts and commands

    def run_shell_command(
        self, command: StringCommand, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """A fact through the shell, from memory where it was asked before; a command through the same shell."""
        text = self._text_of(command, arguments)
        if text is None:
            return self._pyinfras_own(command, print_output, print_input, **arguments)
        if self._asking and not arguments.get("_stdin"):
            return self._answer(command, text, arguments)
        self._questions.forget(after_command=True)
        self.report.traffic.commands += 1
        login, inner = split_login(text)
        limit = int(arguments.get("_timeout") or self._setting("steelyard_command_timeout_s"))
        stdin = joined(arguments.get("_stdin"))
        tell = self.report.on_progress
        answer = self._sent_ahead(login, lambda ahead: ahead.outcome(text, stdin, limit, tell))
        if answer is None:
            line = self.report.audit(command) if self.report.audit is not None else None
            answer = self._through(login, arguments, lambda shell: shell.run(inner, stdin, limit, line, tell))
        return self._outcome(command, answer, arguments, limit)

    def clear_cache(self) -> None:
        """Drop every remembered answer of a fact; the next question goes to the host."""
        self._questions.forget()

    def _text_of(self, command: StringCommand, arguments: Mapping[str, Any]) -> str | None:
        """The whole command, with the way to its user; None where the shell is no way to it."""
        if any(arguments.get(name) for name in OWN_WAY):
            return None
        wrapped = {key: value for key, value in arguments.items() if key not in NOT_IN_TEXT}
        return make_unix_command_for_host(self.state, self.host, command, **wrapped).get_raw_value()

    def _outcome(
        self, command: StringCommand, answer: CommandAnswer, arguments: dict[str, Any], limit: float
    ) -> tuple[bool, CommandOutput]:
        done = answer.status in (arguments.get("_success_exit_codes") or [0])
        if not done:
            ended = f"did not end within {limit:g} s" if answer.status in (124, 137) else f"exit {answer.status}"
            last = answer.stderr[-20:] or answer.stdout[-20:]
            self.report.failed = FailedCommand(command.get_masked_value(), ended, last)
        return done, output_of(answer)

    def _pyinfras_own(self, command: StringCommand, *rest: Any, **arguments: Any) -> tuple[bool, CommandOutput]:
        """A command that needs a terminal, or becomes another user by other means than sudo: pyinfra's way."""
        if self._asking:
            run_slot(self.state, Foreseen).is_open(self.host.name, self.host.current_op_hash)
        else:
            self._questions.forget(after_command=True)
            self._note(command)
            self.report.traffic.commands += 1
        self.report.traffic.channels += 1
        self.report.traffic.round_trips += 1
        self._make_room()
        done, output = super().run_shell_command(command, *rest, **arguments)
        if not done:
            last = [line.line for line in output.combined_lines[-20:]]
            self.report.failed = FailedCommand(command.get_masked_value(), "failed", last)
        return done, output

    def put_file(self, *args: Any, **kwargs: Any) -> bool:
        self._questions.forget(after_command=True)
        self._note(StringCommand(f"upload {args[1] if len(args) > 1 else kwargs.get('remote_filename')}"))
        self.report.traffic.uploads += 1
        return bool(super().put_file(*args, **kwargs))

    def _put_file(self, source: Any, remote: str) -> None:
        try:
            self._transferring(super()._put_file, source, remote)
        except (ConnectError, SFTPError):
            limit = int(self._setting("steelyard_command_timeout_s"))
            self._through("", {}, lambda shell: put_piped(shell, source, remote, limit))

    def _get_file(self, remote: str, target: Any) -> None:
        try:
            self._transferring(super()._get_file, remote, target)
        except (ConnectError, SFTPError):
            limit = int(self._setting("steelyard_command_timeout_s"))
            self._through("", {}, lambda shell: get_piped(shell, remote, target, limit))

    def _transferring(self, transfer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """pyinfra keeps its transfer channel open; where there is one session, the next command needs it."""
        self._make_room()
        for attempt in range(SESSION_TRIES):
            try:
                done = transfer(*args, **kwargs)
                break
            except (ConnectError, SSHException):  # the session we made room for is given free a moment later
                if not self.one_session or attempt == SESSION_TRIES - 1:
                    raise
                gevent.sleep(0.05 * 2**attempt)
        if self.one_session:
            self.get_file_transfer_connection().close()
            self.get_file_transfer_connection.cache.clear()
        return done

    def open_stream(self, command: StringCommand) -> HelperStream:
        """Start a program as root that is talked with while it works, on a channel of its own. Raises HostError."""
        from .helper_stream import HelperStream  # what a push says is not loaded by a look

        self._questions.forget(after_command=True)
        self.report.traffic.commands += 1
        self.report.traffic.round_trips += 1
        self._note(command)
        sudo = {"_sudo": bool(self.host.data.get("_sudo"))}
        text = make_unix_command_for_host(self.state, self.host, command, **sudo).get_raw_value()
        channel = self._session()
        login, inner = split_login(text)
        password = self.host.data.get("_sudo_password")
        marker = "steelyard-" + os.urandom(9).hex()
        program = f"sh -c {shlex.quote(f'{greeting(marker)}exec sh -c {inner}')}"
        if login and password:
            self._guarded(
                login, lambda: enter(channel, self.become, login, str(password), f"exec {program}", self._count_trip)
            )
        else:
            channel.exec_command(self.become.command(login, program))
        return HelperStream(channel, f"{marker}^\n".encode())

    def _note(self, command: StringCommand) -> None:
        """The host's audit line of a change that does not go down the shell, written before it: a round trip of its
        own.
        """
        if self.report.audit is None:
            return
        sudo = sudo_arguments(self.host)
        login = "sudo -H -n " if sudo["_sudo"] else ""
        line = self.report.audit(command)
        self._through(login, {**sudo}, lambda shell: shell.run("true", None, 60, line))

    # Questions

    def _answer(self, command: StringCommand, text: str, arguments: dict[str, Any]) -> tuple[bool, CommandOutput]:
        self.report.traffic.facts += 1
        answer = self._questions.answer(text)
        if answer is not None:
            self.report.traffic.remembered += 1
        else:
            answer = self._sent_ahead(split_login(text)[0], lambda ahead: ahead.answer(text))
            if answer is not None:
                self._questions.remember({text: answer})
            else:
                answer = self._fetched(text, arguments)
        if self._planning:
            self._questions.note(text)
            foreseen = run_slot(self.state, Foreseen)
            if foreseen.keeps:
                self._questions.keep(text, answer)
                foreseen.note(self.host.name, self.host.current_op_hash, Question(text))
        return self._outcome(command, answer, arguments, self._setting("steelyard_timeout_s"))

    @property
    def _planning(self) -> bool:
        return self.state.current_stage <= StateStage.Prepare

    def _fetched(self, text: str, arguments: dict[str, Any]) -> CommandAnswer:
        login, _ = split_login(text)
        asked = self._questions.along(text, self._planning, run_slot(self.state, Rehearsals))
        answers: list[CommandAnswer] = self._through(login, arguments, lambda shell: self._ask(shell, asked, arguments))
        self._questions.remember(dict(zip(asked, answers, strict=False)))  # one, where the batch had to be done without
        return answers[0]

    # Ahead

    def knows(self, question: Question) -> bool:
        return self._questions.planned(question.text) is not None

    def send_ahead(self, tasks: Sequence[TaskAhead], is_stopped: Callable[[], bool]) -> None:
        limit = int(self._setting("steelyard_command_timeout_s"))
        batch = batch_of(tasks, self._text_of, self._questions.planned, limit)
        if batch is None:
            return
        self._questions.forget(after_command=True)
        self._asked = [step.text for step in batch.steps if isinstance(step, Asked)]
        password = {"_sudo_password": self.host.data.get("_sudo_password")}
        seconds = self._setting("steelyard_timeout_s")
        self._ahead = self._through(batch.login, password, lambda shell: shell.send_ahead(batch, seconds))
        gevent.spawn(self._watch, self._ahead, self._shells[batch.login], is_stopped)

    def begins_ahead(self) -> bool:
        return bool(self._sent_ahead("", lambda ahead: ahead.begins()))

    def end_ahead(self) -> None:
        self._sent_ahead("", lambda ahead: ahead.end())

    def _sent_ahead(self, login: str, look: Callable[[Ahead], Found | None]) -> Found | None:
        """What came of a step that was sent ahead; None where it was not, or the host did not get there."""
        ahead = self._ahead
        if ahead is None or ahead.is_over:
            return None
        try:
            came: Found | None = self._guarded(login, lambda: look(ahead))
        except TookAnotherWay as did:
            self._refuse(DidMore(where=self.host.name, command=f"`{did.args[0][:200]}`"))
        return came

    def _watch(self, ahead: Ahead, shell: Shell, is_stopped: Callable[[], bool]) -> None:
        """Tell the host, on another channel, that it is to begin nothing further; where there is none, what it was sent
        comes to its end.
        """
        while self._ahead is ahead and not ahead.is_over and not is_stopped():
            gevent.sleep(WATCH_S)
        if self._ahead is not ahead or ahead.is_over or self.one_session:
            return
        password = self.host.data.get("_sudo_password")
        try:
            beside = Shell(
                self._beside,
                shell.login,
                self._count_trip,
                str(password) if password else None,
                self.become,
            )
            beside.ask([shlex.quote(f": >{stop_file(shell.marker)}")], 30)
            beside.close()
        except (OSError, EOFError, SSHException, PasswordWrong, ShellRefused):
            return

    def _ask(self, shell: Shell, asked: list[str], arguments: dict[str, Any]) -> list[CommandAnswer]:
        seconds = self._setting("steelyard_timeout_s")
        self._asked = asked
        try:
            return shell.ask([split_login(text)[1] for text in asked], seconds)
        except EOFError:
            if len(asked) == 1 or not shell.answered:
                raise
        # something in the list ends a shell: do without the list
        self._questions.one_by_one()
        self._asked = asked[:1]
        return self._open(shell.login, arguments).ask([split_login(asked[0])[1]], seconds)
