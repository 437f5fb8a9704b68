"""SSH with one shell channel per host: facts cost round trips once, not once each.

Read pyinfra's own connector first: this one changes three things and keeps the rest. (1) TCP_NODELAY: paramiko sets
none, and Nagle then waits for delayed ACKs at every exec. (2) Facts go down one long-lived `sh`, framed by a random
marker; their answers are remembered until the host runs a command that is not a fact. (3) The facts that the last
run of the same deploy asked for are sent as ONE script at the first fact (prefetch). A stale list costs time, never
truth: what is not in it is asked for as usual, what is not asked for is dropped.
How a fact is told from a command: this connector wraps `get_fact` of its own host object, nothing of pyinfra's.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from paramiko import AuthenticationException, BadHostKeyException, SSHException
from paramiko.channel import Channel
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.state import StateStage
from pyinfra.connectors.base import DataMeta
from pyinfra.connectors.ssh import ConnectorData, SSHConnector, connector_data_meta
from pyinfra.connectors.util import CommandOutput, OutputLine, make_unix_command_for_host

from steelyard.engine.prefetch import PrefetchList
from steelyard.errors import HostKeyChanged, HostKeyUnknown, HostSilent, HostUnreachable, SteelyardError, SudoRefused
from steelyard.problem import HostProblem

NOT_FACT_ARGUMENTS = ("_get_pty", "_timeout", "_stdin", "_success_exit_codes")
SUDO_PROBE = "sudo -n -H true"


@dataclass
class Traffic:
    """What one host cost: counts of this run, shown by `-v` and held to budgets by tests."""

    connections: int = 0
    channels: int = 0
    round_trips: int = 0
    facts: int = 0
    remembered: int = 0
    commands: int = 0
    uploads: int = 0


@dataclass(frozen=True)
class Answer:
    """Exit status and lines of one framed command."""

    status: int
    stdout: list[str]
    stderr: list[str]


def frame(command: str, marker: str) -> str:
    """One command so that its output, status and errors can be told apart in the stream of a shell."""
    return (
        f"{{ {command}\n}} 2>\"$STEELYARD_ERR\" </dev/null; printf '\\n{marker} %d\\n' $?; "
        f"cat \"$STEELYARD_ERR\"; printf '\\n{marker}.\\n'\n"
    )


def opening() -> str:
    """First line of the shell: a private file for error output, gone when the shell ends."""
    return "umask 077; STEELYARD_ERR=$(mktemp) || exit 1; trap 'rm -f \"$STEELYARD_ERR\"' EXIT\n"


def read_answers(lines: Iterator[bytes], marker: str, count: int) -> Iterator[Answer]:
    """The answers of `count` frames. Raises EOFError when the stream ends early."""
    middle, end = f"{marker} ".encode(), f"{marker}.".encode()
    for _ in range(count):
        stdout: list[bytes] = []
        stderr: list[bytes] = []
        status: int | None = None
        for raw in lines:
            line = raw.rstrip(b"\n")
            if status is None and line.startswith(middle):
                status = int(line[len(middle) :])
            elif status is not None and line == end:
                break
            else:
                (stdout if status is None else stderr).append(line)
        else:
            raise EOFError("the shell ended")
        yield Answer(status or 0, _text(stdout), _text(stderr))


def _text(lines: list[bytes]) -> list[str]:
    """Without the empty line that the marker's own newline makes."""
    if lines and lines[-1] == b"":
        lines = lines[:-1]
    return [line.decode(errors="replace") for line in lines]


class SteelyardConnectorData(ConnectorData):
    """pyinfra's SSH data and ours."""

    steelyard_timeout_s: int


class SteelyardConnector(SSHConnector):
    """pyinfra's SSH connector with one shell channel for facts. Entry point `@steelyard/NAME`."""

    handles_execution = True
    data_cls = SteelyardConnectorData  # type: ignore[assignment]
    data_meta = {
        **connector_data_meta,
        "ssh_strict_host_key_checking": DataMeta("SSH strict host key checking", "yes"),
        "steelyard_timeout_s": DataMeta("Seconds a fact may take before the host is given up on", 120),
    }

    def __init__(self, state: Any, host: Any) -> None:
        super().__init__(state, host)
        self.traffic = Traffic()
        self.problem: SteelyardError | None = None
        self.last_failure: tuple[str, list[str]] | None = None  # command (masked), last lines
        self._asking = 0
        self._memo: dict[str, Answer] = {}
        self._shell: Channel | None = None
        self._marker = "steelyard-" + os.urandom(9).hex()
        self._prefetch: PrefetchList | None = None
        self._original_get_fact = host.get_fact
        host.get_fact = self._get_fact

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield f"@steelyard/{name}", {"ssh_hostname": name}, []

    def _get_fact(self, *args: Any, **kwargs: Any) -> Any:
        self._asking += 1
        try:
            return self._original_get_fact(*args, **kwargs)
        finally:
            self._asking -= 1

    # Connecting

    def connect(self) -> None:
        """Connect. Raises HostProblem with HostUnreachable, HostKeyChanged or HostKeyUnknown."""
        name, address = self.host.name, str(self.data["ssh_hostname"] or self.host.name)
        known_hosts = str(self.data["ssh_known_hosts_file"] or "~/.ssh/known_hosts")
        try:
            super().connect()
        except ConnectError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, BadHostKeyException):
                cause = cause.__cause__ or cause.__context__
            text = str(error.args[0] if error.args else error)
            if cause is not None or "Host key for" in text:
                raise HostProblem(HostKeyChanged(where=name, address=address, known_hosts=known_hosts)) from error
            if "StrictPolicy" in text:
                raise HostProblem(HostKeyUnknown(where=name, address=address, known_hosts=known_hosts)) from error
            user = self.data["ssh_user"]
            login = f"{user}@{address}" if user else address
            raise HostProblem(HostUnreachable(where=name, why=_why(error, text), address=login)) from error
        self.traffic.connections += 1
        transport = self.client.get_transport() if self.client else None
        if transport is not None and isinstance(transport.sock, socket.socket):
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._prefetch = PrefetchList.of(self.state, self.host)

    def disconnect(self) -> None:
        if self._prefetch is not None and not self.problem and self.state.current_stage >= StateStage.Prepare:
            self._prefetch.save()
        if self._shell is not None:
            self._shell.close()
            self._shell = None
        super().disconnect()
        if self.client is not None:
            self.client.close()

    # Running

    def run_shell_command(
        self, command: StringCommand, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """A fact through the shell channel, from memory where it was asked before; anything else as pyinfra does it."""
        plain = not any(arguments.get(name) for name in ("_stdin", "_get_pty", "_sudo_password", "_su_password"))
        if self._asking and plain:
            return self._answer(command, arguments)
        if not self._asking:
            self._memo.clear()
            self.traffic.commands += 1
        self.traffic.channels += 1
        self.traffic.round_trips += 1
        done, output = super().run_shell_command(command, print_output, print_input, **arguments)
        if not done:
            self.last_failure = (command.get_masked_value(), [line.line for line in output.combined_lines[-20:]])
        return done, output

    def put_file(self, *args: Any, **kwargs: Any) -> bool:
        self._memo.clear()
        self.traffic.uploads += 1
        return bool(super().put_file(*args, **kwargs))

    def stream(self, command: StringCommand, chunks: Iterator[bytes], **arguments: Any) -> bool:
        """Run a command with standard input from `chunks`, sent as they come. False when it failed; its words are kept."""
        self._memo.clear()
        self.traffic.commands += 1
        self.traffic.channels += 1
        self.traffic.round_trips += 1
        text = make_unix_command_for_host(self.state, self.host, command, **arguments).get_raw_value()
        assert self.client is not None
        transport = self.client.get_transport()
        assert transport is not None
        channel = transport.open_session()
        channel.exec_command(text)
        try:
            for chunk in chunks:
                channel.sendall(chunk)
            channel.shutdown_write()
        except OSError:
            pass  # the command ended before it read everything: what it says is the reason
        errors = b"".join(iter(lambda: channel.recv_stderr(65536), b""))
        output = b"".join(iter(lambda: channel.recv(65536), b""))
        status = channel.recv_exit_status()
        channel.close()
        if status != 0:
            words = (errors or output).decode(errors="replace").splitlines()
            self.last_failure = (command.get_masked_value(), words[-20:])
        return status == 0

    def _answer(self, command: StringCommand, arguments: dict[str, Any]) -> tuple[bool, CommandOutput]:
        wrapped = {key: value for key, value in arguments.items() if key not in NOT_FACT_ARGUMENTS}
        text = make_unix_command_for_host(self.state, self.host, command, **wrapped).get_raw_value()
        self.traffic.facts += 1
        if self._prefetch is not None and self.state.current_stage <= StateStage.Prepare:
            self._prefetch.note(text)
        if text in self._memo:
            self.traffic.remembered += 1
        elif self._shell is None:
            self._first_question(text, bool(arguments.get("_sudo")))
        else:
            self._memo[text] = self._ask([text])[0]
        found = self._memo[text]
        allowed = arguments.get("_success_exit_codes") or [0]
        lines = [OutputLine("stdout", line) for line in found.stdout] + [OutputLine("stderr", line) for line in found.stderr]
        if found.status not in allowed:
            self.last_failure = (command.get_masked_value(), found.stderr[-20:] or found.stdout[-20:])
        return found.status in allowed, CommandOutput(lines)

    def _first_question(self, text: str, sudo: bool) -> None:
        """Open the shell and ask everything the last run asked, with this question and the sudo probe among it."""
        wanted = list(dict.fromkeys([*(self._prefetch.wanted if self._prefetch else ()), text]))
        probe = [SUDO_PROBE] if sudo else []
        try:
            answers = self._exchange([*probe, *wanted])
        except EOFError:  # something in the list ends a shell: do without the list
            self._shell, wanted = None, [text]
            answers = self._ask([*probe, *wanted])
        except (TimeoutError, OSError, SSHException) as error:
            raise self._silent() from error
        if sudo and answers[0].status != 0:
            user = str(self.data["ssh_user"] or "you")
            why = answers[0].stderr[-1] if answers[0].stderr else f"exit {answers[0].status}"
            self.problem = SudoRefused(where=self.host.name, user=user, why=why)
            raise HostProblem(self.problem)
        self._memo.update(zip(wanted, answers[len(probe) :], strict=True))

    def _ask(self, commands: list[str]) -> list[Answer]:
        """Answers of framed commands. Raises HostProblem when the host falls silent; TimeoutError while executing."""
        try:
            return self._exchange(commands)
        except (TimeoutError, EOFError, OSError, SSHException) as error:
            raise self._silent() from error

    def _silent(self) -> Exception:
        self._shell = None
        self.problem = HostSilent(where=self.host.name, seconds=str(int(self._timeout_s)))
        if self.state.current_stage >= StateStage.Execute:
            return TimeoutError(str(self.problem))  # pyinfra then fails this host only
        return HostProblem(self.problem)

    @property
    def _timeout_s(self) -> float:
        return float(self.data["steelyard_timeout_s"])  # type: ignore[typeddict-item]

    def _exchange(self, commands: list[str]) -> list[Answer]:
        """Send framed commands, read their answers: one round trip. Raises EOFError where the shell ends."""
        script = "".join(frame(command, self._marker) for command in commands)
        self.traffic.round_trips += 1
        if self._shell is None:
            assert self.client is not None
            transport = self.client.get_transport()
            assert transport is not None
            self._shell = transport.open_session()
            self._shell.exec_command("exec sh")
            self.traffic.channels += 1
            script = opening() + script
        self._shell.settimeout(self._timeout_s)
        self._shell.sendall(script.encode())
        lines = _lines(self._shell, time.monotonic() + self._timeout_s)
        return list(read_answers(lines, self._marker, len(commands)))


def _lines(shell: Channel, end: float) -> Iterator[bytes]:
    """Lines of a channel until `end` (monotonic seconds)."""
    buffer = b""
    while True:
        if time.monotonic() > end:
            raise TimeoutError
        received = shell.recv(65536)
        if not received:
            return
        buffer += received
        *whole, buffer = buffer.split(b"\n")
        yield from (line + b"\n" for line in whole)


def _why(error: BaseException, text: str) -> str:
    """The cause in the kernel's or the server's words, without pyinfra's wrapping."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, AuthenticationException) or text.startswith("Authentication error"):
        return "the login was refused"
    inner = re.search(r"\((.*)\)$", text)
    return inner.group(1) if inner else text
