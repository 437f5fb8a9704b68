"""Our connector with this machine as its host: real shells, real commands, real frames, and no SSH in between."""

from __future__ import annotations

import getpass
import grp
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import gevent.socket

from steelyard.engine.prefetch import PrefetchList
from steelyard.engine.session import Session
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.modules.connectors.ssh import SteelyardConnector
from steelyard.site.site import Site

ME = {"user": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}


class LocalChannel:
    """What the connector uses of paramiko's channel, to a shell of this machine."""

    def __init__(self) -> None:
        mine, self._theirs = socket.socketpair()
        errors, self._said = socket.socketpair()
        # as gevent makes all of them in a command: who waits for the shell holds up no other greenlet
        self._mine, self._errors = (
            gevent.socket.socket(fileno=mine.detach()),
            gevent.socket.socket(fileno=errors.detach()),
        )
        self.process: subprocess.Popen[bytes] | None = None

    def exec_command(self, command: str) -> None:
        self.process = subprocess.Popen(
            ["sh", "-c", command], stdin=self._theirs, stdout=self._theirs, stderr=self._said, start_new_session=True
        )
        self._theirs.close()
        self._said.close()

    def settimeout(self, seconds: float) -> None:
        self._mine.settimeout(seconds)
        self._errors.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        self._mine.sendall(data)

    def recv(self, most: int) -> bytes:
        try:
            return self._mine.recv(most)
        except ConnectionResetError:
            return b""

    def recv_stderr(self, most: int) -> bytes:
        return self._errors.recv(most)

    def close(self) -> None:
        self._mine.close()
        self._errors.close()
        if self.process is not None:
            self.process.wait(10)


class Here(SteelyardConnector):
    """This machine, under whatever name the inventory gives it."""

    channels: list[LocalChannel] = []  # of all hosts, for tests that cut one off

    def connect(self) -> None:
        self.user = ME["user"]
        self.report.traffic.connections += 1
        self._questions.begin(PrefetchList.of(self.state, self.host))

    def disconnect(self) -> None:
        self._end_questions()
        self._close_shells()

    def _session(self) -> Any:
        self.report.traffic.channels += 1
        self.channels.append(LocalChannel())
        return self.channels[-1]

    def _beside(self) -> Any:
        return LocalChannel()


def session_here(folder: Path, deploy: str, names: tuple[str, ...] = ("here",), **data: Any) -> Session:
    """A session over this machine, as each of `names`, with this text as its deploy file."""
    path = folder / "deploy.py"
    path.write_text(deploy)
    hosts = tuple(FleetHost(name, ("all",), dict(data)) for name in names)
    fleet = Fleet(folder, hosts, {"all": names})
    return Session(fleet, Site("/models", {}, (), {}, {}, {}), names, path, Here)


def trips(session: Session) -> list[int]:
    """Round trips of each host so far."""
    return [host.traffic.round_trips for host in session.plan().hosts if host.traffic is not None]
