"""The engine's control routes, over its unix socket: reachable by root on its own host and by nobody else."""

from __future__ import annotations

import http.client
import json
from typing import Any

from steelyard_host.ready import SocketConnection, headers
from steelyard_host.store import StoreError

LONGEST_S = 3600


def socket_of(service: str) -> str:
    return "/run/steelyard/%s/engine.sock" % service


def post(service: str, path: str, body: dict[str, Any] | None = None, seconds: float = LONGEST_S) -> Any:
    """The answer's JSON, None where it has none. Raises StoreError: no answer, or another status than 200."""
    text = json.dumps(body) if body is not None else ""
    try:
        connection = SocketConnection(socket_of(service), seconds)
        connection.request("POST", path, text, headers(service))
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise StoreError("the engine does not answer %s: %r" % (path, error)) from error
    if answer.status != 200:
        raise StoreError("the engine answers %s with %d: %s" % (path, answer.status, content.decode(errors="replace")[:200]))
    try:
        return json.loads(content)
    except ValueError:
        return None


def health(service: str) -> int:
    """Status of its /health; 0 where nothing answers: that may be a server that is too busy to."""
    try:
        connection = SocketConnection(socket_of(service), 5)
        connection.request("GET", "/health", headers=headers(service))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0


def reload_weights(service: str) -> None:
    """Read the weights at its constant path again: running requests finish first, new ones wait, none sees two versions.

    Raises StoreError; the engine then may hold anything.
    """
    post(service, "/pause?mode=wait")
    try:
        post(service, "/collective_rpc", {"method": "reload_weights", "kwargs": {}})
        post(service, "/reset_prefix_cache")
    finally:
        post(service, "/resume")
