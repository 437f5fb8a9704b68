"""SSH with one connection and one shell per host: facts cost one round trip together, a command costs one each.

Read pyinfra's own connector first: this one keeps its configuration, keys, jump hosts and agents, and changes four
things. (1) TCP_NODELAY: paramiko sets none, and Nagle then waits for delayed ACKs. (2) Facts and commands go down one
long-lived shell (`frames.py`, `shell.py`), opened through sudo once. (3) Answers of facts are remembered until the host
runs a command. (4) The facts that the last run of the same deploy asked are sent as ONE script at the first fact
(prefetch), and after a command those that came next in this run's plan (read-ahead). A stale list costs time, never
truth: what is not in it is asked for as usual, what is not asked for is dropped.
How a fact is told from a command: this connector wraps `get_fact` of its own host object, nothing of pyinfra's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gevent
from paramiko import SSHException
from paramiko.channel import Channel
from paramiko.ssh_exception import ChannelException
from paramiko.transport import Transport
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.state import StateStage
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, OutputLine, make_unix_command_for_host

from steelyard.engine.prefetch import PrefetchList
from steelyard.errors import (
    ConnectionLost,
    FactFailed,
    HostSilent,
    SteelyardError,
    SudoRefused,
)
from steelyard.problem import HostProblem

from .conversation import Conversation
from .frames import Answer, progress, split_login
from .login import DATA_META, SteelyardConnectorData, Traffic, login_problem, tune
from .shell import LET_IN_S, PasswordWrong, Refused, Shell, enter, lines_of

OWN_WAY = ("_get_pty", "_su_user", "_doas", "_dzdo", "_use_sudo_login", "_preserve_sudo_env")  # pyinfra runs these
NOT_IN_TEXT = ("_get_pty", "_timeout", "_stdin", "_success_exit_codes", "_sudo_password")
SESSION_TRIES = 8  # a server with MaxSessions 1 gives the session free a little after the channel is closed


class SteelyardConnector(SSHConnector):
    """pyinfra's SSH connector with one shell channel. Entry point `@steelyard/NAME`."""

    handles_execution = True
    data_cls = SteelyardConnectorData  # type: ignore[assignment]
    data_meta = DATA_META

    def __init__(self, state: Any, host: Any) -> None:
        super().__init__(state, host)
        self.traffic = Traffic()
        self.problem: SteelyardError | None = None
        self.last_failure: tuple[str, str, list[str]] | None = None  # command (masked), how it ended, last lines
        self.audit: Callable[[StringCommand], str] | None = None  # what the host notes of a command; see frames.order
        self._asking = 0
        self._memo: dict[str, Answer] = {}
        self._shells: dict[str, Shell] = {}  # by login
        self._prefetch = PrefetchList.nowhere()
        self.one_session = False  # the server refused a second one
        self._asked: list[str] = []  # the last batch
        self._ahead = 0  # questions to add to the next one; doubles while no command comes between
        self._original_get_fact = host.get_fact
        host.get_fact = self._get_fact

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield f"@steelyard/{name}", {"ssh_hostname": name}, []

    def _get_fact(self, *args: Any, **kwargs: Any) -> Any:
        self._asking += 1
        try:
            found = self._original_get_fact(*args, **kwargs)
        finally:
            self._asking -= 1
        if self._raises and self.host in self.state.failed_hosts:
            # pyinfra goes on with a default, and an operation would act on it
            command, _, words = self.last_failure or ("a fact", "", [])
            why = words[-1] if words else "it answered what it should not"
            raise HostProblem(self.problem or FactFailed(where=self.host.name, fact=f"`{command[:120]}`", why=why))
        return found

    @property
    def _raises(self) -> bool:
        """True in our engine, which takes a host out where it fails; pyinfra's own would end the run for all."""
        return bool(getattr(self.state, "raises_host_problems", False))

    # Connecting

    def connect(self) -> None:
        """Connect. Raises HostProblem with HostUnreachable, HostKeyChanged or HostKeyUnknown."""
        try:
            super().connect()
        except ConnectError as error:
            address = str(self.data["ssh_hostname"] or self.host.name)
            known_hosts = str(self.data["ssh_known_hosts_file"] or "~/.ssh/known_hosts")
            raise HostProblem(login_problem(error, self.host.name, self.data["ssh_user"], address, known_hosts)) from error
        self.traffic.connections += 1
        tune(self._transport(), int(self._setting("steelyard_link_timeout_s")))
        self._prefetch = PrefetchList.of(self.state, self.host)

    def disconnect(self) -> None:
        if not self.problem and self.state.current_stage >= StateStage.Prepare:
            self._prefetch.save()
        self._close_shells()
        super().disconnect()
        if self.client is not None:
            self.client.close()
            self.client = None

    def again(self) -> None:
        """A new connection in place of one that was lost, or was meant to be. Raises HostProblem where there is none yet."""
        try:
            self.disconnect()
        except (OSError, EOFError, SSHException, HostProblem):
            self._shells.clear()
        self.client, self.problem = None, None
        self.forget()
        self.connect()

    def _transport(self) -> Transport:
        transport = self.client.get_transport() if self.client is not None else None
        if transport is None:
            raise EOFError("not connected")
        return transport

    def _setting(self, name: str) -> float:
        return float(self.data[name])  # type: ignore[literal-required]

    # Facts and commands

    def run_shell_command(
        self, command: StringCommand, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        """A fact through the shell, from memory where it was asked before; a command through the same shell."""
        if any(arguments.get(name) for name in OWN_WAY):
            return self._pyinfras_own(command, print_output, print_input, **arguments)
        wrapped = {key: value for key, value in arguments.items() if key not in NOT_IN_TEXT}
        text = make_unix_command_for_host(self.state, self.host, command, **wrapped).get_raw_value()
        if self._asking and not arguments.get("_stdin"):
            return self._answer(command, text, arguments)
        self.forget()
        self.traffic.commands += 1
        login, inner = split_login(text)
        limit = int(arguments.get("_timeout") or self._setting("steelyard_command_timeout_s"))
        stdin = _joined(arguments.get("_stdin"))
        line = self.audit(command) if self.audit is not None else None
        found = self._through(login, arguments, lambda shell: shell.run(inner, stdin, limit, line))
        return self._outcome(command, found, arguments, limit)

    def forget(self) -> None:
        """What was remembered no longer holds; the next question is asked anew."""
        self._memo.clear()
        self._ahead = 0

    def _outcome(
        self, command: StringCommand, found: Answer, arguments: dict[str, Any], limit: float
    ) -> tuple[bool, CommandOutput]:
        done = found.status in (arguments.get("_success_exit_codes") or [0])
        if not done:
            ended = f"did not end within {limit:g} s" if found.status in (124, 137) else f"exit {found.status}"
            self.last_failure = (command.get_masked_value(), ended, found.stderr[-20:] or found.stdout[-20:])
        lines = [OutputLine("stdout", line) for line in found.stdout] + [OutputLine("stderr", line) for line in found.stderr]
        return done, CommandOutput(lines)

    def _pyinfras_own(self, command: StringCommand, *rest: Any, **arguments: Any) -> tuple[bool, CommandOutput]:
        """A command that needs a terminal, or becomes another user by other means than sudo: pyinfra's way."""
        if not self._asking:
            self.forget()
            self._note(command)
            self.traffic.commands += 1
        self.traffic.channels += 1
        self.traffic.round_trips += 1
        self._make_room()
        done, output = super().run_shell_command(command, *rest, **arguments)
        if not done:
            self.last_failure = (command.get_masked_value(), "failed", [line.line for line in output.combined_lines[-20:]])
        return done, output

    def put_file(self, *args: Any, **kwargs: Any) -> bool:
        self.forget()
        self._note(StringCommand(f"upload {args[1] if len(args) > 1 else kwargs.get('remote_filename')}"))
        self.traffic.uploads += 1
        return bool(super().put_file(*args, **kwargs))

    def _put_file(self, *args: Any, **kwargs: Any) -> Any:
        return self._transferring(super()._put_file, *args, **kwargs)

    def _get_file(self, *args: Any, **kwargs: Any) -> Any:
        return self._transferring(super()._get_file, *args, **kwargs)

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

    def converse(self, command: StringCommand) -> Conversation:
        """Start a program as root that is talked with while it works, on a channel of its own. Raises HostProblem."""
        self.forget()
        self.traffic.commands += 1
        self.traffic.round_trips += 1
        self._note(command)
        sudo = {"_sudo": bool(self.host.data.get("_sudo"))}
        text = make_unix_command_for_host(self.state, self.host, command, **sudo).get_raw_value()
        channel = self._session()
        login, inner = split_login(text)
        password = self.host.data.get("_sudo_password")
        if login and password:
            self._guarded(login, lambda: enter(channel, login, str(password), f"exec sh -c {inner}", self._count_trip))
        else:
            channel.exec_command(text)
        return Conversation(channel)

    def _note(self, command: StringCommand) -> None:
        """The host's audit line of a change that does not go down the shell, written before it: a round trip of its own."""
        if self.audit is None:
            return
        sudo = {"_sudo": bool(self.host.data.get("_sudo")), "_sudo_password": self.host.data.get("_sudo_password")}
        login = "sudo -H -n " if sudo["_sudo"] else ""
        line = self.audit(command)
        self._through(login, sudo, lambda shell: shell.run("true", None, 60, line))

    # Questions

    def _answer(self, command: StringCommand, text: str, arguments: dict[str, Any]) -> tuple[bool, CommandOutput]:
        self.traffic.facts += 1
        if self.state.current_stage <= StateStage.Prepare:
            self._prefetch.note(text)
        if text in self._memo:
            self.traffic.remembered += 1
        else:
            login, _ = split_login(text)
            asked = list(dict.fromkeys([text, *self._likely_next(text, login)]))
            found = self._through(login, arguments, lambda shell: self._ask(shell, asked, arguments))
            self._memo.update(zip(asked, found, strict=False))  # one, where the batch had to be done without
        return self._outcome(command, self._memo[text], arguments, self._setting("steelyard_timeout_s"))

    def _likely_next(self, text: str, login: str) -> list[str]:
        """What to ask along: all of the last run's list at the start, a growing part of this run's after a command."""
        if not self._memo and not self.traffic.commands:
            candidates = list(self._prefetch.wanted)
        else:
            candidates = self._prefetch.after(text)[: self._ahead]
            self._ahead = max(1, self._ahead * 2)
        return [other for other in candidates if other not in self._memo and split_login(other)[0] == login]

    def _ask(self, shell: Shell, asked: list[str], arguments: dict[str, Any]) -> list[Answer]:
        seconds = self._setting("steelyard_timeout_s")
        self._asked = asked
        try:
            return shell.ask([split_login(text)[1] for text in asked], seconds)
        except EOFError:
            if len(asked) == 1 or not shell.answered:
                raise
        # something in the list ends a shell: do without the list
        self._asked = asked[:1]
        return self._open(shell.login, arguments).ask([split_login(asked[0])[1]], seconds)

    # Shells

    def _through(self, login: str, arguments: dict[str, Any], use: Callable[[Shell], Any]) -> Any:
        """Use the shell of a login."""
        return self._guarded(login, lambda: use(self._shells.get(login) or self._open(login, arguments)))

    def _guarded(self, login: str, work: Callable[[], Any]) -> Any:
        """Every way in which the host can fail becomes a host problem."""
        try:
            return work()
        except PasswordWrong:
            self._refuse(self._sudo_refused("sudo did not take the password"))
        except Refused as error:
            self._refuse(self._sudo_refused(str(error) or "the shell did not start"))
        except TimeoutError:
            self._refuse(self._silent(login))
        except (EOFError, OSError, SSHException) as error:
            words = self._shells[login].words() if login in self._shells else ""
            if login and words.startswith("sudo:"):
                self._refuse(self._sudo_refused(words))
            self._refuse(ConnectionLost(where=self.host.name, why=words or str(error) or type(error).__name__))

    def _open(self, login: str, arguments: dict[str, Any]) -> Shell:
        password = arguments.get("_sudo_password")
        with gevent.Timeout(LET_IN_S, TimeoutError):  # paramiko waits for ever for a server's word that a program runs
            shell = Shell(self._session, login, self._count_trip, str(password) if password else None)
        self._shells[login] = shell
        return shell

    def _count_trip(self) -> None:
        self.traffic.round_trips += 1

    def _session(self) -> Channel:
        """A new channel; where the server allows one at a time, the shells make room."""
        self.traffic.channels += 1
        for attempt in range(SESSION_TRIES):
            try:
                return self._transport().open_session(timeout=30)
            except ChannelException:
                self.one_session = True
                self._close_shells()
                gevent.sleep(0.05 * 2**attempt)
        raise SSHException("the server opens no further session (MaxSessions)")

    def _make_room(self) -> None:
        """Before pyinfra opens a channel of its own: it cannot ask us for room."""
        try:
            self._session().close()
            self.traffic.channels -= 1
        except SSHException:
            self._close_shells()

    def _close_shells(self) -> None:
        for shell in self._shells.values():
            shell.close()
        self._shells.clear()

    def _refuse(self, error: SteelyardError) -> Any:
        """Take the host out. Raises HostProblem; in plain pyinfra's execution OSError, which pyinfra counts against this host only."""
        self._close_shells()
        self.problem = error
        if self.state.current_stage >= StateStage.Execute and not self._raises:
            raise OSError(str(error)) from None
        raise HostProblem(error) from None

    def _sudo_refused(self, why: str) -> SteelyardError:
        return SudoRefused(where=self.host.name, user=str(self.data["ssh_user"] or "you"), why=why)

    def _silent(self, login: str) -> SteelyardError:
        """Silence, with the question that keeps the host busy, asked through a second shell where that is possible."""
        seconds = f"{self._setting('steelyard_timeout_s'):g}"
        asked = ""
        try:
            channel = self._transport().open_session(timeout=5)
            channel.settimeout(5)
            channel.exec_command(f"{login}sh")
            channel.sendall(progress(self._shells[login].marker).encode())
            channel.shutdown_write()
            number = int(b"".join(lines_of(channel, float("inf"))) or b"-1")
            asked = f"`{split_login(self._asked[number])[1][:80]}`"
        except (OSError, EOFError, SSHException, ValueError, LookupError):
            pass
        return HostSilent(where=self.host.name, seconds=seconds, asked=asked or "for facts")


def _joined(stdin: Any) -> str | None:
    if not stdin:
        return None
    return stdin if isinstance(stdin, str) else "\n".join(str(line).rstrip("\n") for line in stdin)
