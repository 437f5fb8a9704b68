"""A connection to one host, with a shell for each login that is needed on it, and every way in which the host can fail.

pyinfra's own connector is below it, with its configuration, keys, jump hosts and agents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from paramiko import SSHException
from paramiko.channel import Channel
from paramiko.ssh_exception import ChannelException
from paramiko.transport import Transport
from pyinfra.api.host import Host
from pyinfra.api.state import State, StateStage
from pyinfra.connectors.ssh import SSHConnector

from steelyard.api.host_error import HostError
from steelyard.api.host_report import report_of
from steelyard.api.run_slots import OurEngine, run_slot
from steelyard.errors import ConnectionLost, HostSilent, SteelyardError

from .become import become_of
from .frames import after_greeting, greeting, progress, split_login
from .login import DATA_META, SteelyardConnectorData, become_problem, connected, password_wrong, tune
from .shell import LET_IN_S, PasswordWrong, Shell, ShellRefused, lines_of

SESSION_TRIES = 8  # a server with MaxSessions 1 gives the session free a little after the channel is closed


class ShellConnector(SSHConnector):
    """pyinfra's SSH connector with long-lived shells."""

    data_cls = SteelyardConnectorData  # type: ignore[assignment]
    data_meta = DATA_META

    def __init__(self, state: State, host: Host) -> None:
        super().__init__(state, host)
        self.report = report_of(state, host)
        self.become = become_of(host.data)
        self._shells: dict[str, Shell] = {}  # by login
        self.one_session = False  # the server refused a second one
        self._asked: list[str] = []  # the last batch

    @property
    def _raises(self) -> bool:
        """True in our engine, which takes a host out where it fails; pyinfra's own would end the run for all."""
        return run_slot(self.state, OurEngine).executes

    # Connecting

    def connect(self) -> None:
        """Connect. Raises HostError with HostUnreachable, HostKeyChanged, HostKeyUnknown, and what cannot be done."""
        self.client, self.user = connected(self.host, float(self.state.config.CONNECT_TIMEOUT))
        self.report.traffic.connections += 1
        tune(self._transport(), int(self._setting("steelyard_link_timeout_s")))

    def disconnect(self) -> None:
        self._close_shells()
        super().disconnect()
        if self.client is not None:
            self.client.close()
            self.client = None

    def again(self) -> None:
        """A new connection in place of one that was lost, or was meant to be. Raises HostError where there is none
        yet.
        """
        try:
            self.disconnect()
        except (OSError, EOFError, SSHException, HostError):
            self._shells.clear()
        self.client, self.report.error = None, None
        self.connect()

    def _transport(self) -> Transport:
        transport = self.client.get_transport() if self.client is not None else None
        if transport is None:
            raise EOFError("not connected")
        return transport

    def _setting(self, name: str) -> float:
        return float(self.data[name])  # type: ignore[literal-required]

    # Shells

    def _through(self, login: str, arguments: dict[str, Any], use: Callable[[Shell], Any]) -> Any:
        """Use the shell of a login."""
        return self._guarded(login, lambda: use(self._shells.get(login) or self._open(login, arguments)))

    def _guarded(self, login: str, work: Callable[[], Any]) -> Any:
        """Every way in which the host can fail becomes a host problem."""
        try:
            return work()
        except PasswordWrong:
            self._refuse(password_wrong(self.host.name, self.user, self.become))
        except ShellRefused as error:
            self._refuse(self._sudo_refused(str(error) or "the shell did not start"))
        except TimeoutError:
            self._refuse(self._silent(login))
        except (EOFError, OSError, SSHException) as error:
            last = self._shells[login].words() if login in self._shells else ""
            if login and self.become.refuses(last):
                self._refuse(self._sudo_refused(last))
            self._refuse(ConnectionLost(where=self.host.name, why=last or str(error) or type(error).__name__))

    def _open(self, login: str, arguments: dict[str, Any]) -> Shell:
        password = arguments.get("_sudo_password")
        with gevent.Timeout(LET_IN_S, TimeoutError):  # paramiko waits for ever for a server's word that a program runs
            word = str(password) if password else None
            shell = Shell(self._session, login, self._count_trip, word, self.become)
        self._shells[login] = shell
        return shell

    def _count_trip(self) -> None:
        self.report.traffic.round_trips += 1

    def _session(self) -> Channel:
        """A new channel; where the server allows one at a time, the shells make room."""
        self.report.traffic.channels += 1
        for attempt in range(SESSION_TRIES):
            try:
                return self._transport().open_session(timeout=30)
            except ChannelException:
                self.one_session = True
                self._close_shells()
                gevent.sleep(0.05 * 2**attempt)
        raise SSHException("the server opens no further session (MaxSessions)")

    def _beside(self) -> Channel:
        """A channel that nobody makes room for: what is at work goes on."""
        return self._transport().open_session(timeout=5)

    def _make_room(self) -> None:
        """Before pyinfra opens a channel of its own: it cannot ask us for room."""
        try:
            self._session().close()
            self.report.traffic.channels -= 1
        except SSHException:
            self._close_shells()

    def _close_shells(self) -> None:
        for shell in self._shells.values():
            shell.close()
        self._shells.clear()

    def _refuse(self, error: SteelyardError) -> Any:
        """Take the host out. Raises HostError; in plain pyinfra's execution OSError, which pyinfra counts against
        this host only.
        """
        self._close_shells()
        self.report.error = error
        if self.state.current_stage >= StateStage.Execute and not self._raises:
            raise OSError(str(error)) from None
        raise HostError(error) from None

    def _sudo_refused(self, why: str) -> SteelyardError:
        return become_problem(self.host.name, self.user, why, self.become)

    def _silent(self, login: str) -> SteelyardError:
        """Silence, with the question that keeps the host busy, asked through a second shell where that is possible."""
        seconds = f"{self._setting('steelyard_timeout_s'):g}"
        asked = ""
        try:
            channel = self._beside()
            channel.settimeout(5)
            marker = self._shells[login].marker
            channel.exec_command(self.become.command(login, "sh"))
            channel.sendall((greeting(marker) + progress(marker)).encode())
            channel.shutdown_write()
            number = int(b"".join(after_greeting(lines_of(channel, lambda: float("inf")), marker)) or b"-1")
            asked = f"`{split_login(self._asked[number])[1][:80]}`"
        except (OSError, EOFError, SSHException, ValueError, LookupError):
            pass
        return HostSilent(where=self.host.name, seconds=seconds, asked=asked or "for facts")
