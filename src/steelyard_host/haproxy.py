"""What a running HAProxy says of itself over its admin socket: the configuration it loaded, its servers' health."""

from __future__ import annotations

import csv
import io
import os
import socket
import time
from pathlib import Path
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
    """`config`: STEELYARD_CONFIG as loaded; `servers`: `backend/server` to its status, `weights`: to its weight, `answers`: to how many
    it gave well, and how many ill. `config` None: no answer.
    """
    try:
        environment = ask(path, "show env STEELYARD_CONFIG")
        rows = stat(path)
    except OSError as error:
        return {"config": None, "servers": {}, "weights": {}, "answers": {}, "error": str(error)}
    config = None
    for line in environment.splitlines():
        if line.startswith("STEELYARD_CONFIG="):
            config = line.split("=", 1)[1]
    return {
        "config": config,
        "servers": {name: row["status"] for name, row in rows.items()},
        "weights": {name: int(row["uweight"]) for name, row in rows.items() if row.get("uweight")},
        "answers": {name: [_number(row, "hrsp_2xx"), _number(row, "hrsp_5xx", "eresp")] for name, row in rows.items()},
    }


def _number(row: dict[str, str], *columns: str) -> int:
    return sum(int(row.get(column) or 0) for column in columns)


def stat(path: str) -> dict[str, dict[str, str]]:
    """`backend/server` to its row of `show stat`. Raises OSError."""
    # what a check said may hold commas; it is quoted then
    rows = csv.DictReader(io.StringIO(ask(path, "show stat -1 4 -1").lstrip("# ")))
    return {"%s/%s" % (row["pxname"], row["svname"]): {name: text or "" for name, text in row.items() if name} for row in rows}


def save(path: str, file: str) -> int:
    """What is known of the servers, for the process that a reload starts. Always 0: without it, that one looks anew."""
    try:
        states = ask(path, "show servers state")
        new = Path(file + ".new")
        new.write_text(states)
        os.replace(new, file)
    except OSError as error:
        print("the servers' states are not kept over this reload: %s" % error)
    return 0


def weigh(path: str, weights: dict[str, int]) -> int:
    """Set weights of `backend/server`s. 0 where HAProxy took them all; else 1, with what it said."""
    refused = [
        said for name, weight in weights.items() for said in [ask(path, "set weight %s %d" % (name, weight)).strip()] if said
    ]
    print("\n".join(refused) or "set")
    return 1 if refused else 0


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
