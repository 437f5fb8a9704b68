"""Kinds of abuse of a gateway, each from one address: `python -m support.abuse KIND PORT` goes on until it is killed.

Nothing here is a way past a check: each asks for more than its share, in ways that every client has.
"""

from __future__ import annotations

import itertools
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

GOOD = "Authorization: Bearer sk-one"
STRANGER = "Authorization: Bearer sk-nobody"
ADDRESS = "127.0.0.66"
MANY = 64  # links that one holds at a time


def link(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(ADDRESS, 0))


def head(*lines: str, path: str = "/v1/completions") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def request(body: bytes, *lines: str) -> bytes:
    return head(GOOD, f"Content-Length: {len(body)}", *lines) + body


def held(port: int, first: bytes, more: Callable[[], bytes]) -> None:
    """Links that begin so and go on a little at a time; one that is closed is opened anew."""
    links: list[socket.socket] = []
    while True:
        with suppress(OSError):
            if len(links) < MANY:
                opened = link(port)
                links.append(opened)
                opened.sendall(first)
        for each in list(links):
            try:
                each.setblocking(False)
                if piece := more():
                    each.send(piece)
                if each.recv(1 << 16) == b"":
                    raise OSError
            except BlockingIOError:
                continue
            except OSError:
                links.remove(each)
                each.close()
        if len(links) >= MANY:
            time.sleep(0.05)


def repeated(port: int, requests: Iterator[bytes]) -> None:
    """One request after another, each on its own link; the answer is not waited for longer than a moment."""
    for whole in requests:
        with suppress(OSError), link(port) as opened:
            opened.sendall(whole)
            opened.settimeout(0.5)
            opened.recv(1 << 16)


def forever(body: bytes, *lines: str) -> Iterator[bytes]:
    return itertools.repeat(request(body, *lines))


def nothing() -> bytes:
    return b""


PLAIN = json.dumps({"model": "tiny"}).encode()
KINDS: dict[str, Callable[[int], None]] = {
    "idle links": lambda port: held(port, b"", nothing),
    "heads that never end": lambda port: held(port, b"POST /v1/completions HTTP/1.1\r\n", lambda: b"X-A: b\r\n"),
    "bodies that never end": lambda port: held(port, head(GOOD, "Content-Length: 1000000"), lambda: b" "),
    "bodies of strangers": lambda port: held(port, head(STRANGER, "Content-Length: 30000000"), lambda: b"x" * 4096),
    "strangers": lambda port: repeated(port, itertools.repeat(head(STRANGER, "Content-Length: 0"))),
    "requests of an alias that is down": lambda port: held(port, request(b'{"model": "gone"}'), nothing),
    "requests that are given up": lambda port: repeated(port, forever(b'{"model": "gone"}')),
    "requests that end engines": lambda port: repeated(port, forever(b'{"model": "pair", "prompt": "poison"}')),
    "large bodies": lambda port: repeated(port, forever(b'{"model": "tiny", "prompt": "' + b"x" * 1_500_000 + b'"}')),
    "bodies that are refused": lambda port: repeated(port, itertools.repeat(head(GOOD, "Content-Length: 99999999"))),
    "models that are not there": lambda port: repeated(port, forever(b'{"model": "' + b"x" * 5000 + b'"}')),
    "answers that nobody reads": lambda port: held(port, request(PLAIN) * 50, nothing),
}


if __name__ == "__main__":
    KINDS[sys.argv[1]](int(sys.argv[2]))
