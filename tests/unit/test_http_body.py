"""An answer is read as far as anybody needs it, and no longer: whoever sends it may be hostile."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable

import pytest

from steelyard_host.engine import metrics
from steelyard_host.engine.service import ENGINES
from steelyard_host.system import http_body

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


def answer_of(send: Callable[[socket.socket], None]) -> http.client.HTTPResponse:
    ours, theirs = socket.socketpair()

    def speak() -> None:
        try:
            send(theirs)
        except OSError:
            pass
        theirs.close()

    threading.Thread(target=speak, daemon=True).start()
    answer = http.client.HTTPResponse(ours)
    answer.begin()
    ours.close()
    return answer


def test_a_body_comes_whole() -> None:
    assert http_body.body_of(answer_of(lambda link: link.sendall(HEAD + b"x" * 100_000))) == b"x" * 100_000


def test_one_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_body, "MOST", 1 << 20)
    with pytest.raises(OSError, match="more than 1048576 bytes"):
        http_body.body_of(answer_of(lambda link: link.sendall(HEAD + b"x" * (2 << 20))))


def test_one_that_does_not_end_is_left() -> None:
    def drip(link: socket.socket) -> None:
        link.sendall(HEAD)
        while True:
            link.sendall(b"x")

    with pytest.raises(OSError, match=r"without an end|more than"):
        http_body.body_of(answer_of(drip), seconds=0.2)


def test_counters_that_are_no_numbers_are_none() -> None:
    page = "vllm:num_requests_running 2\nvllm:num_requests_waiting two\n"
    names = ("num_requests_running", "num_requests_waiting")
    assert metrics.parse(page, ENGINES["vllm"], names) == {"num_requests_running": 2, "num_requests_waiting": 0}
