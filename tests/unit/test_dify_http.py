"""What stands before Dify answers in its place where Dify does not: that is no answer of Dify's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from steelyard.dify.http import exchange, message_of
from steelyard.errors import DifyUnreachable

SAID: dict[str, tuple[int, bytes]] = {
    "/502": (502, b"<html><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></html>"),
    "/503": (503, b"no server is available"),
    "/504": (504, b"<html>"),
    "/api": (503, b'{"code": "busy", "message": "its own words"}'),
    "/404": (404, b"<html>none</html>"),
}


class Proxy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, text = SAID[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def base() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_that_reaches_no_dify_is_dify_that_does_not_answer(base: str, status: int) -> None:
    with pytest.raises(DifyUnreachable, match=f"the proxy before it says {status}"):
        exchange(base, "GET", f"/{status}", None, {})


def test_dify_s_own_words_are_its_answer_whatever_the_status(base: str) -> None:
    answer = exchange(base, "GET", "/api", None, {})
    assert (answer.status, message_of(answer.body)) == (503, "its own words")
    assert exchange(base, "GET", "/404", None, {}).status == 404
