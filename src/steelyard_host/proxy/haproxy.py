"""A running HAProxy over its admin socket: the configuration it loaded, its servers' health and weights.

What it does with requests while a server is away: docs/design/gateway.md.
"""

from __future__ import annotations

import csv
import io
import re
import socket
import sys
import time
from pathlib import Path

from steelyard_host.system import json_file, systemd
from steelyard_host.wire.services import ProxyState

CONFIG = "/etc/haproxy/haproxy.cfg"
PORT = 18  # column of `show servers state`


def ask(path: str, command: str) -> str:
    """The answer to one command of the runtime API. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        answer = b""
        while True:
            received = connection.recv(65536)
            if not received:
                return answer.decode()
            answer += received


def state(path: str) -> ProxyState:
    """Return what the HAProxy behind the socket `path` says of itself; `config` is None where it does not answer."""
    try:
        environment = ask(path, "show env STEELYARD_CONFIG")
        rows = stat(path)
    except OSError as error:
        return ProxyState(None, error=str(error))
    lines = (line.split("=", 1) for line in environment.splitlines())
    return ProxyState(
        next((value[0] for name, *value in lines if name == "STEELYARD_CONFIG" and value), None),
        {name: row["status"] for name, row in rows.items()},
        {name: int(row["uweight"]) for name, row in rows.items() if row.get("uweight")},
        {name: (_number(row, "hrsp_2xx"), _number(row, "hrsp_5xx", "eresp")) for name, row in rows.items()},
        running={name: _number(row, "scur") for name, row in rows.items()},
    )


def _number(row: dict[str, str], *columns: str) -> int:
    return sum(int(row.get(column) or 0) for column in columns)


def stat(path: str) -> dict[str, dict[str, str]]:
    """Rows of `show stat` by `backend/server`. Raises OSError."""
    # what a check said may hold commas; it is quoted then
    rows = csv.DictReader(io.StringIO(ask(path, "show stat -1 4 -1").lstrip("# ")))
    return {
        "%s/%s" % (row["pxname"], row["svname"]): {name: text or "" for name, text in row.items() if name}
        for row in rows
    }


def save(path: str, file: str, config: str = CONFIG) -> int:
    """Keeps what is known of the servers for the process that a reload starts. Always 0: without it, that one looks
    anew.

    A server whose port is declared anew is left out: HAProxy would take the port of before, whatever `config` says.
    """
    try:
        declared = _ports(Path(config).read_text())
        rows = ask(path, "show servers state").splitlines(keepends=True)
        kept = [row for row in rows if not _moved(row.split(), declared)]
        json_file.write_atomically(Path(file), "".join(kept))
    except OSError as error:
        print("the servers' states are not kept over this reload: %s" % error)
    return 0


def _ports(config: str) -> dict[tuple[str, str], str]:
    """The port that a configuration declares for each backend's server."""
    ports, backend = {}, ""
    for fields in (line.split() for line in config.splitlines()):
        if fields[:1] == ["backend"]:
            backend = fields[1]
        elif fields[:1] == ["server"]:
            ports[backend, fields[1]] = fields[2].rpartition(":")[2]
    return ports


def _moved(row: list[str], declared: dict[tuple[str, str], str]) -> bool:
    """Whether a row of `show servers state` is of a server with another port than is declared now."""
    return len(row) > PORT and declared.get((row[1], row[3]), row[PORT]) != row[PORT]


def weigh(path: str, weights: dict[str, int]) -> int:
    """Sets weights of `backend/server`s. 0 where HAProxy took them all; else 1, with what it said."""
    answers = (ask(path, "set weight %s %d" % (name, weight)).strip() for name, weight in weights.items())
    refused = [answer for answer in answers if answer]
    print("\n".join(refused) or "set")
    return 1 if refused else 0


def unmap(path: str, map_file: str, backends: list[str]) -> int:
    """Takes the entries that name one of `backends` out of the running map: who asks for them is told at once.

    Requests that were routed before run to their end. 0 where all are gone; else 1, with what HAProxy said.
    """
    entries = [line.split() for line in ask(path, "show map %s" % map_file).splitlines()]
    keys = [entry[1] for entry in entries if len(entry) == 3 and entry[2] in backends]
    answers = [ask(path, "del map %s %s" % (map_file, key)).strip() for key in keys]
    refused = [answer for answer in answers if answer]
    print("\n".join(refused) or "gone")
    return 1 if refused else 0


def unhealthy(path: str, servers: list[str]) -> dict[str, str]:
    """Return the status of those of `servers` (`backend/server`) that are not UP."""
    status = state(path).servers
    return {server: status.get(server, "unknown") for server in servers if not status.get(server, "").startswith("UP")}


def hold(path: str, config: Path, seconds: int) -> int:
    """Requests wait so long for a server to come back, until the next reload; 0: as long as is declared again.

    The file stays as declared, so whatever ends before its time, a reload brings that back. 1 where it holds none.
    """
    loaded = state(path).config or ""
    if not seconds:
        return 0 if "-hold-" not in loaded or _reloaded(path, loaded.split("-hold-")[0]) else 1
    declared, mode = config.read_text(), config.stat().st_mode & 0o7777
    if "allbackups" not in declared:
        print("it holds no requests: `gateway.hold_s` is 0", file=sys.stderr)
        return 1
    stamp = "%s-hold-%d" % (loaded.split("-hold-")[0], seconds)
    held = re.sub(r'(STEELYARD_CONFIG) "[^"]*"', r'\1 "%s"' % stamp, declared, count=1)
    json_file.write_atomically(
        config, re.sub(r"(?m)^    retries .*", "    retries %d" % (seconds * 4), held, count=1), mode
    )
    try:
        return 0 if _reloaded(path, stamp) else 1
    finally:
        json_file.write_atomically(config, declared, mode)


def _reloaded(path: str, stamp: str) -> bool:
    """Whether HAProxy has loaded the configuration of that stamp, which is on disk now."""
    systemd.systemctl("reload", "haproxy.service")
    end = time.monotonic() + 10
    while state(path).config != stamp:
        if time.monotonic() > end:
            print("it has not loaded what it was given", file=sys.stderr)
            return False
        time.sleep(0.1)
    return True


def wait_healthy(path: str, seconds: float, servers: list[str]) -> int:
    """Exit code 0 when every server is UP; 1 and a sentence on stdout for each that is not after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        left = unhealthy(path, servers)
        if not left:
            return 0
        if time.monotonic() > end:
            for server, status in sorted(left.items()):
                print("%s is %s: it gave no token for %d s" % (server, status, seconds))
            return 1
        time.sleep(0.5)
