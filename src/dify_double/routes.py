"""Requests, answers, and the table that says which handler answers which request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .json_object import JsonObject

Answer = tuple[int, list[str], Any]  # status, Set-Cookie values, decoded body (None: empty)
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
PARTS = {"": "[^/]+", "any": ".+?", "uuid": UUID}


class Html(str):
    """A body that is a page and no JSON."""


class EventStream(str):
    """A body that is a stream of events, kept as one text."""


class Generated(JsonObject):
    """A JSON body that an app made, and no route: its media type names an encoding too."""


NOT_FOUND_WORDS = (
    "The requested URL was not found on the server. If you entered the URL manually please check your spelling and "
    "try again."
)
NOT_FOUND_PAGE = Html(
    "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>%s</p>\n" % NOT_FOUND_WORDS
)
BROKEN: Answer = (500, [], {"message": "Internal Server Error", "code": "unknown", "status": 500})


class Request(NamedTuple):
    """One request. `names` are the named parts of its route's path, `account` is whose login it carries: a member's, or
    the app's whose key was shown.
    """

    method: str
    path: str
    query: dict[str, str]
    body: JsonObject
    cookies: dict[str, str]
    names: dict[str, str] = {}
    account: JsonObject = {}


class Route:
    """A method and a path with named parts, `/apps/{app:uuid}`, and the handler that answers them.

    A part is a word without a slash; `{provider:any}` may hold slashes, as providers' names do; `{app:uuid}` is an id.
    An `open` route needs no login; one of the service API needs a `key`, of an `app` or a `dataset`.
    """

    def __init__(
        self, method: str, path: str, handler: Callable[[Request], Answer], open: bool = False, key: str = ""
    ) -> None:
        self.method, self.path, self.handler, self.open, self.key = method, path, handler, open, key
        self.pattern = re.compile("".join(map(_part, re.split(r"(\{[a-z_:]+\})", path))))

    def names_in(self, path: str) -> dict[str, str] | None:
        """Return the named parts of a path; None where it is not this route's."""
        match = self.pattern.fullmatch(path)
        return None if match is None else match.groupdict()


def _part(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    name, _, kind = part[1:-1].partition(":")
    return "(?P<%s>%s)" % (name, PARTS[kind])


Login = Callable[[Route], "JsonObject | Answer"]


def answer_by(routes: Iterable[Route], request: Request, login: Login) -> Answer:
    """Return the answer of the first route that the request fits: a page that says 404 where no path fits, 405 where
    only the method does not. `login` returns whose request it is, or the answer that refuses it; Dify asks for it after
    it has looked for the route.
    """
    others = False
    for route in routes:
        names = route.names_in(request.path)
        if names is None:
            continue
        if route.method != request.method:
            others = True
            continue
        if route.open:
            return route.handler(request._replace(names=names))
        account = login(route)
        if isinstance(account, tuple):
            return account
        return route.handler(request._replace(names=names, account=account))
    if others:
        return flat(405, "method_not_allowed", "The method is not allowed for the requested URL.")
    return 404, [], NOT_FOUND_PAGE


def ok(body: Any) -> Answer:
    """Return a body with status 200."""
    return 200, [], body


def gone() -> Answer:
    """Return the empty answer to a removal."""
    return 204, [], None


def nested(status: int, kind: str, message: str, **more: Any) -> Answer:
    """Return an error in the shape of /setup and /init."""
    return status, [], {"error": {"type": kind, "message": message, "status": status, **more}}


def flat(status: int, code: str, message: str) -> Answer:
    """Return an error in the shape of everything else."""
    return status, [], {"code": code, "message": message, "status": status}


def content_type(body: Any) -> str:
    """Return the media type of a body as the real one names it."""
    if isinstance(body, bytes):
        return "audio/mpeg"
    if isinstance(body, EventStream):
        return "text/event-stream; charset=utf-8"
    if isinstance(body, Generated):
        return "application/json; charset=utf-8"
    return "text/html; charset=utf-8" if isinstance(body, Html) else "application/json"
