"""The engine's control routes, over its unix socket: reachable by root on its own host and by nobody else."""

from __future__ import annotations

import http.client
import json
from typing import Any

from steelyard_host.engine.probe import SocketConnection, headers
from steelyard_host.engine.service import HostService
from steelyard_host.errors import HelperError
from steelyard_host.system.http_body import body_of

LONGEST_S = 3600


def get(service: HostService, path: str, seconds: float = 60) -> Any:
    """The answer's JSON. Raises HelperError."""
    return _request(service, "GET", path, "", seconds)


def post(service: HostService, path: str, body: dict[str, Any] | None = None, seconds: float = LONGEST_S) -> Any:
    """The answer's JSON, None where it has none. Raises HelperError: no answer, or another status than 200."""
    return _request(service, "POST", path, json.dumps(body) if body is not None else "", seconds)


def _request(service: HostService, method: str, path: str, text: str, seconds: float) -> Any:
    try:
        connection = SocketConnection(service.socket, seconds)
        connection.request(method, path, text, headers(service.name))
        answer = connection.getresponse()
        content = body_of(answer, seconds)
    except (OSError, http.client.HTTPException) as error:
        raise HelperError("the engine does not answer %s: %r" % (path, error)) from error
    if answer.status != 200:
        raise HelperError(
            "the engine answers %s with %d: %s" % (path, answer.status, content.decode(errors="replace")[:200])
        )
    try:
        return json.loads(content)
    except ValueError:
        return None


def health(service: HostService) -> int:
    """Status of its /health; 0 where nothing answers: that may be a server that is too busy to."""
    try:
        connection = SocketConnection(service.socket, 5)
        connection.request("GET", "/health", headers=headers(service.name))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0


def reload_weights(service: HostService) -> None:
    """The engine reads the weights at its constant path again: running requests finish first, new ones wait, none sees
    two versions.

    Raises HelperError; the engine then may hold anything.
    """
    post(service, "/pause?mode=wait")
    try:
        post(service, "/collective_rpc", {"method": "reload_weights", "kwargs": {}})
        post(service, "/reset_prefix_cache")
    finally:
        post(service, "/resume")


def sleep(service: HostService, level: int) -> None:
    """The engine gives up what it has on the GPU; its weights go to the host's memory (level 1) or nowhere (2).

    Nothing may run on it. Raises HelperError.
    """
    post(service, "/sleep?level=%d&mode=wait" % level)
    if not get(service, "/is_sleeping")["is_sleeping"]:
        raise HelperError("the engine does not fall asleep: does it run with enable-sleep-mode?")


def wake(service: HostService, level: int) -> None:
    """The engine is back on the GPU, which has to have the room for it again; after level 2 it reads its weights at its
    constant path. Raises HelperError.
    """
    if level == 2:
        post(service, "/wake_up?tags=weights")
        post(service, "/collective_rpc", {"method": "reload_weights", "kwargs": {}})
        post(service, "/wake_up?tags=kv_cache")
    else:
        post(service, "/wake_up")
    if get(service, "/is_sleeping")["is_sleeping"]:
        raise HelperError("the engine does not wake up")
