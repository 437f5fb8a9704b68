"""Requests, answers, and the table that says which handler answers which request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .json_object import JsonObject

Answer = tuple[int, list[str], Any]  # status, Set-Cookie values, decoded body (None: empty)


class Request(NamedTuple):
    """One request below `/console/api`. `names` are the named parts of its route's path."""

    method: str
    path: str
    query: dict[str, str]
    body: JsonObject
    cookies: dict[str, str]
    names: dict[str, str] = {}


class Route:
    """A method and a path with named parts, `/apps/{app}`, and the handler that answers them.

    A part is a word without a slash; `{provider:any}` may hold slashes, as providers' names do. An empty method stands
    for every one.
    """

    def __init__(self, method: str, path: str, handler: Callable[[Request], Answer]) -> None:
        self.method, self.handler = method, handler
        self.pattern = re.compile("".join(map(_part, re.split(r"(\{[a-z:]+\})", path))))

    def answer(self, request: Request) -> Answer | None:
        """Return the handler's answer; None where the request is not this route's."""
        match = self.pattern.fullmatch(request.path) if self.method in ("", request.method) else None
        return None if match is None else self.handler(request._replace(names=match.groupdict()))


def _part(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    name, _, kind = part[1:-1].partition(":")
    return "(?P<%s>%s)" % (name, ".+?" if kind == "any" else "[^/]+")


def answer_by(routes: Iterable[Route], request: Request) -> Answer:
    """Return the answer of the first route that the request fits; 404 where it fits none."""
    for route in routes:
        answer = route.answer(request)
        if answer is not None:
            return answer
    return flat(404, "not_found", "The requested URL was not found on the server.")


def ok(body: Any) -> Answer:
    """Return a body with status 200."""
    return 200, [], body


def nested(status: int, kind: str, message: str, **more: Any) -> Answer:
    """Return an error in the shape of /setup and /init."""
    return status, [], {"error": {"type": kind, "message": message, "status": status, **more}}


def flat(status: int, code: str, message: str) -> Answer:
    """Return an error in the shape of everything else."""
    return status, [], {"code": code, "message": message, "status": status}
