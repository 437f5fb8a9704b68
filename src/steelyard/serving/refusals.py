"""Answers with which our proxies refuse a request by themselves, in the shape that clients of OpenAI's API read. Pure.

Where HAProxy itself falls back on a page of HTML, `http-error` puts these. Two of its answers no configuration changes
before 3.3: 400 to what is no HTTP, and 408 to a head that never ends (docs/how-it-works/keys.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

INVALID, OVERLOADED, SERVER = "invalid_request_error", "overloaded_error", "server_error"


class HttpRefusal(NamedTuple):
    """A refusal: its status, a message that says what to do, the type of OpenAI's that it is, the seconds after which
    it is worth another try, None where it is not, and whether OpenAI's clients are told not to try by themselves.
    """

    status: int
    message: str
    kind: str
    retry_s: int | None = None
    told_not_to: bool = False

    @property
    def body(self) -> str:
        """The JSON that a client gets. Variables of HAProxy in the message, `%[...]`, stay what they are."""
        error = {"message": self.message, "type": self.kind, "code": self.status}
        return json.dumps({"error": error}, separators=(",", ":"), ensure_ascii=False)

    @property
    def answer(self) -> str:
        """Words behind `http-request return` or `http-error`."""
        assert "'" not in self.body, self.body  # the quotes of HAProxy
        retry = f" hdr Retry-After {self.retry_s}" if self.retry_s is not None else ""
        refrain = " hdr X-Should-Retry false" if self.told_not_to else ""
        return f"status {self.status} content-type application/json lf-string '{self.body}'{retry}{refrain}"


def proxy_errors(proxy: str, log: str, unavailable: str, server_s: int) -> tuple[HttpRefusal, ...]:
    """Every answer that HAProxy gives by itself. `unavailable`: what a 503 says; `server_s`: its `timeout server`."""
    return (
        HttpRefusal(400, "the request cannot be read: its line, a header or its length is malformed", INVALID),
        HttpRefusal(401, "show a key of this endpoint as `Authorization: Bearer KEY`", INVALID),
        HttpRefusal(403, f"the {proxy} does not let this request in", INVALID),
        HttpRefusal(404, "nothing is at this path: the API is below /v1/", INVALID),
        HttpRefusal(405, "nothing takes this method here", INVALID),
        HttpRefusal(408, "the request did not come whole within 30 s: send it again", INVALID, 1),
        HttpRefusal(413, f"the request is larger than the {proxy} reads: send a smaller one", INVALID),
        HttpRefusal(429, "too many requests: send fewer, or later", "rate_limit_error", 10),
        HttpRefusal(500, f"the {proxy} met an error of its own; {log} on its host says which", SERVER),
        HttpRefusal(501, f"the {proxy} does not know how to do this", INVALID),
        HttpRefusal(502, "the service ended its answer before it began: send the request again", SERVER, 1),
        HttpRefusal(503, unavailable, OVERLOADED, 5),
        HttpRefusal(504, f"the service gave no answer within {server_s} s", SERVER, 5),
    )


def error_lines(refusals: Sequence[HttpRefusal]) -> list[str]:
    """Lines of a `defaults` section."""
    return [f"http-error {refusal.answer}" for refusal in refusals]
