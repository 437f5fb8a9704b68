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


def get(service: str, path: str, seconds: float = 60) -> Any:
    """The answer's JSON. Raises StoreError."""
    return _asked(service, "GET", path, "", seconds)


def post(service: str, path: str, body: dict[str, Any] | None = None, seconds: float = LONGEST_S) -> Any:
    """The answer's JSON, None where it has none. Raises StoreError: no answer, or another status than 200."""
    return _asked(service, "POST", path, json.dumps(body) if body is not None else "", seconds)


def _asked(service: str, method: str, path: str, text: str, seconds: float) -> Any:
    try:
        connection = SocketConnection(socket_of(service), seconds)
        connection.request(method, path, text, headers(service))
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


def fall_asleep(service: str, level: int) -> None:
    """It gives up what it has on the GPU; its weights go to the host's memory (level 1) or nowhere (2). Nothing may run on it.

    Raises StoreError.
    """
    post(service, "/sleep?level=%d&mode=wait" % level)
    if not get(service, "/is_sleeping")["is_sleeping"]:
        raise StoreError("the engine does not fall asleep: does it run with enable-sleep-mode?")


def wake(service: str, level: int) -> None:
    """Back on the GPU, which has to have the room for it again; after level 2 its weights are read at its constant path. Raises StoreError."""
    if level == 2:
        post(service, "/wake_up?tags=weights")
        post(service, "/collective_rpc", {"method": "reload_weights", "kwargs": {}})
        post(service, "/wake_up?tags=kv_cache")
    else:
        post(service, "/wake_up")
    if get(service, "/is_sleeping")["is_sleeping"]:
        raise StoreError("the engine does not wake up")
