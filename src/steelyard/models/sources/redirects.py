"""Redirects of web servers: followed over http(s) only, and credentials are never shown to whom they lead.

urllib repeats every header of a request at the place that a redirect names, on any host; curl, requests and the Hub's
client do not. A host's login is its own: what goes on to a store of files is signed by its address.
"""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPMessage
from typing import IO, Any

CREDENTIALS = ("authorization", "cookie", "proxy-authorization")
PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme.lower(), (parts.hostname or "").lower(), parts.port or PORTS.get(parts.scheme.lower())


class CarefulRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects as urllib follows them, without credentials for another origin, and to http(s) alone."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request that follows; raises HTTPError where the redirect leads to another kind of address."""
        if origin(newurl)[0] not in PORTS:
            raise urllib.error.HTTPError(req.full_url, code, "a redirect to no http address", headers, fp)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and origin(newurl) != origin(req.full_url):
            for name in list(following.headers):
                if name.lower() in CREDENTIALS:
                    following.remove_header(name)
        return following


def open_url(request: urllib.request.Request, timeout: float, *handlers: urllib.request.BaseHandler) -> Any:
    """The answer to a request, redirects followed with care. Raises OSError."""
    return urllib.request.build_opener(CarefulRedirects(), *handlers).open(request, timeout=timeout)
