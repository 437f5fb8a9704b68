"""What a running HAProxy says of itself over its admin socket: the configuration it loaded, its servers' health."""

from __future__ import annotations

import socket
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
