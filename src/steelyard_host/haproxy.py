"""What a running HAProxy says of itself over its admin socket: the configuration it loaded, its servers' health."""

from __future__ import annotations

import socket
import time
from typing import Any


def ask(path: str, command: str) -> str:
    """One command of the runtime API. Raises OSError."""
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


def state(path: str) -> dict[str, Any]:
    """`config`: STEELYARD_CONFIG as loaded; `servers`: `backend/server` to its status. `config` None: no answer."""
    try:
        environment = ask(path, "show env STEELYARD_CONFIG")
        table = ask(path, "show stat -1 4 -1")
    except OSError as error:
        return {"config": None, "servers": {}, "error": str(error)}
    config = None
    for line in environment.splitlines():
        if line.startswith("STEELYARD_CONFIG="):
            config = line.split("=", 1)[1]
    rows = [line.split(",") for line in table.splitlines() if line]
    names = rows[0] if rows else []
    status = names.index("status") if "status" in names else 17
    return {"config": config, "servers": {"%s/%s" % (row[0], row[1]): row[status] for row in rows[1:] if len(row) > status}}


def unhealthy(path: str, servers: list[str]) -> dict[str, str]:
    """Those of `servers` (`backend/server`) that are not UP, with their status."""
    found = state(path)["servers"]
    return {server: found.get(server, "unknown") for server in servers if not found.get(server, "").startswith("UP")}


def wait_healthy(path: str, seconds: float, servers: list[str]) -> int:
    """0 when every server is UP; 1 and a sentence on stdout for each that is not after `seconds`."""
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
