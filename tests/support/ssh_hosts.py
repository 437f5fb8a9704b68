"""Hosts that are this machine: an SSH server at every address of 127.0.0.0/8, which runs what it is asked in a real
shell.

`python ssh_hosts.py HOST_KEY SLOW PORT` prints its port and serves until standard input ends. Each address in SLOW,
written as `127.9.0.3=2.5` with commas between, lets everybody in and begins a shell only after so many seconds.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import paramiko


class Door(paramiko.ServerInterface):
    """Lets in whoever has a key, and runs what it is asked."""

    def __init__(self, address: str, wait_s: float) -> None:
        self.address, self.wait_s = address, wait_s

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._run, args=(channel, command.decode()), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, command: str) -> None:
        time.sleep(self.wait_s)
        environment = {**os.environ, "HERE": self.address}
        with subprocess.Popen(
            ["/bin/sh", "-c", command], stdin=-1, stdout=-1, stderr=-1, bufsize=0, env=environment
        ) as process:
            assert process.stdin and process.stdout and process.stderr
            said = [
                threading.Thread(target=_pass_on, args=(process.stdout.fileno(), channel.sendall), daemon=True),
                threading.Thread(target=_pass_on, args=(process.stderr.fileno(), channel.sendall_stderr), daemon=True),
            ]
            for thread in said:
                thread.start()
            threading.Thread(target=_feed, args=(channel, process.stdin), daemon=True).start()
            process.wait()
            for thread in said:
                thread.join()
        try:
            channel.send_exit_status(process.returncode)
            channel.close()
        except OSError:
            pass  # the other side has gone


def _pass_on(number: int, send: object) -> None:
    try:
        while piece := os.read(number, 65536):
            send(piece)  # type: ignore[operator]
    except OSError:
        pass


def _feed(channel: paramiko.Channel, stdin: object) -> None:
    try:
        while piece := channel.recv(65536):
            stdin.write(piece)  # type: ignore[attr-defined]
    except OSError:
        pass
    finally:
        stdin.close()  # type: ignore[attr-defined]


def main() -> None:
    key = paramiko.Ed25519Key.from_private_key_file(sys.argv[1])
    slow = dict(entry.split("=") for entry in sys.argv[2].split(",") if entry)
    listening = socket.create_server(("0.0.0.0", int(sys.argv[3])), backlog=600)
    print(listening.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    doors = []
    while True:
        connection, _ = listening.accept()
        address = connection.getsockname()[0]
        transport = paramiko.Transport(connection)
        transport.add_server_key(key)
        doors.append(transport)
        threading.Thread(
            target=_let_in, args=(transport, Door(address, float(slow.get(address, 0)))), daemon=True
        ).start()


def _let_in(transport: paramiko.Transport, door: Door) -> None:
    try:
        transport.start_server(server=door)
    except (paramiko.SSHException, EOFError, OSError):
        pass  # a client that went away


class SshHosts(NamedTuple):
    """The server's port, and the key that gets in."""

    port: int
    key: Path

    def inventory(self, folder: Path, hosts: dict[str, str]) -> Path:
        """An inventory of these hosts, by name, at their addresses; `:PORT` behind one is another port than ours."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = ["all:", "  hosts:"]
        for name, address in hosts.items():
            where, _, port = address.partition(":")
            lines.append(f"    {name}: {{ansible_host: {where}, ansible_port: {port or self.port}}}")
        lines += [
            "  vars:",
            "    ansible_user: ops",
            f"    ansible_ssh_private_key_file: {self.key}",
            "    ansible_ssh_common_args: -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
        ]
        path = folder / "hosts.yml"
        path.write_text("\n".join(lines) + "\n")
        return path


@contextmanager
def ssh_hosts(folder: Path, slow: dict[str, float] | None = None, port: int = 0) -> Iterator[SshHosts]:
    """The server in a process of its own. `slow`: seconds before an address runs anything; `port` 0: any."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    waits = ",".join(f"{address}={seconds}" for address, seconds in (slow or {}).items())
    argv = [sys.executable, __file__, str(folder / "host_key"), waits, str(port)]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL  # paramiko tells of every connection that ends
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=nowhere, text=True) as process:
        assert process.stdin and process.stdout
        try:
            yield SshHosts(int(process.stdout.readline()), folder / "user_key")
        finally:
            process.stdin.close()


if __name__ == "__main__":
    main()
