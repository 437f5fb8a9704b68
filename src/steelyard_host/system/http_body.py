"""Bodies of answers over HTTP whose sender may be anybody: an engine that was taken over, a mirror."""

from __future__ import annotations

import errno
import http.client
import time

MOST = 16 << 20  # bytes; what engines and mirrors say of themselves is a hundredth of it
SECONDS = 60.0


def body_of(answer: http.client.HTTPResponse, seconds: float = SECONDS) -> bytes:
    """The body. Raises OSError where it is longer than anybody's ought to be, or does not end within `seconds`."""
    end, body = time.monotonic() + seconds, bytearray()
    while True:
        part = answer.read1(65536)
        if not part:
            return bytes(body)
        body += part
        if len(body) > MOST:
            raise OSError(errno.EMSGSIZE, "an answer of more than %d bytes" % MOST)
        if time.monotonic() > end:
            raise TimeoutError(errno.ETIMEDOUT, "an answer without an end")
