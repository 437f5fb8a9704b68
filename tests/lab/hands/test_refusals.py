"""Refusals of the gateway and of a front, as a client reads them: JSON in the API's own shape, with a message that says
what to do.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.hands_site import HandsSite

HOLD_S = 2
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer KEY\r\nConnection: close\r\n"


def posted(body: bytes, length: int | None = None) -> bytes:
    return HEAD + f"Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


ONE_TOKEN = posted(b'{"model": "pair", "prompt": "a", "max_tokens": 1}')
# what is sent to the gateway, the status it is refused with, and words of the message
TO_THE_GATEWAY = {
    "no key": (posted(b"{}").replace(b"Authorization", b"X-Other"), 401, "no client has it"),
    "a key that nobody has": (posted(b"{}").replace(b"KEY", b"sk-nobody"), 401, "show one as `Authorization"),
    "another path": (HEAD.replace(b"/v1/completions", b"/admin") + b"\r\n", 404, "below /v1/"),
    "a body without a model": (posted(b"{}"), 400, "names its `model`"),
    "a body that is no JSON": (posted(b"{nope"), 400, "names its `model`"),
    "a model that nobody serves": (posted(b'{"model": "a\\"b"}'), 404, 'the model a"b does not exist'),
    "a body without a model in its first megabyte": (posted(b'{"x": "' + b"x" * 1_100_000 + b'"}'), 413, "larger"),
    "a body that does not come": (posted(b"{", 99), 408, "send it again"),
    "an alias without a service": (posted(b'{"model": "solo"}'), 503, f"alias solo answered within {HOLD_S} s"),
    "a client over its limit": (ONE_TOKEN.replace(b"KEY", b"sk-limited"), 429, "more than 1 requests"),
}
TO_A_FRONT = {
    "no key": (posted(b"{}").replace(b"Authorization", b"X-Other"), 401, "the key of its gateway"),
    "a client's key": (posted(b"{}"), 401, "ask there"),
    "another path": (HEAD.replace(b"/v1/completions", b"/sleep") + b"\r\n", 404, "below /v1/"),
}


def answered(address: str, port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body, as they are on the wire."""
    with socket.create_connection((address, port), timeout=60) as connection:
        connection.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received or len(received.split(b"\r\n\r\n", 1)[1]) < _length(received):
            more = connection.recv(65536)
            if not more:
                break
            received += more
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().splitlines()
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body


def _length(received: bytes) -> int:
    match = re.search(rb"(?i)\r\ncontent-length: (\d+)", received)
    return int(match[1]) if match else 0


@pytest.fixture(scope="module")
def refusing(hands: HandsSite) -> Iterator[HandsSite]:
    """A gateway that holds requests for two seconds, a client who has asked enough, and nobody behind `solo`."""
    known = {name: hands.secrets[f"{name}_client_key"] for name in ("dify", "demo")}
    clients = {"clients": {**known, "limited": "sk-limited"}, "limits": {"limited": {"per_minute": 1}}}
    hands.roles(gateway={"port": 8080, "hold_s": HOLD_S, **clients})
    hands.apply()
    assert answered(hands.address("gw-1"), 8080, ONE_TOKEN.replace(b"KEY", b"sk-limited"))[0] == 200
    hands.sh("gpu-3", "systemctl stop steelyard-llamacpp@solo")
    yield hands
    hands.sh("gpu-3", "systemctl start steelyard-llamacpp@solo")
    hands.roles(gateway=None)
    hands.apply()


def assert_refused(address: str, port: int, key: str, row: tuple[bytes, int, str]) -> None:
    request, status, told = row
    given, headers, body = answered(address, port, request.replace(b"KEY", key.encode()))
    assert (given, headers["content-type"]) == (status, "application/json"), body
    error = json.loads(body)["error"]
    assert error.keys() == {"message", "type", "code"}
    assert error["code"] == status
    assert told in error["message"]
    assert ("retry-after" in headers) == (status in (408, 429, 503))


def test_every_refusal_of_the_gateway_is_json(refusing: HandsSite) -> None:
    key, door = refusing.secrets["demo_client_key"], refusing.address("gw-1")
    with ThreadPoolExecutor(len(TO_THE_GATEWAY)) as pool:
        looks = {name: pool.submit(assert_refused, door, 8080, key, row) for name, row in TO_THE_GATEWAY.items()}
    assert {name: str(look.exception()) for name, look in looks.items() if look.exception()} == {}


@pytest.mark.parametrize("name", TO_A_FRONT)
def test_every_refusal_of_a_front_is_json(refusing: HandsSite, name: str) -> None:
    assert_refused(refusing.address("gpu-1"), 8010, refusing.secrets["demo_client_key"], TO_A_FRONT[name])


def test_gateway_whose_key_a_front_refuses_does_not_blame_its_client(refusing: HandsSite) -> None:
    """Somebody changed the front by hand: the client's key is right, and 401 would say that it is not."""
    swap = "cp -p /etc/steelyard/front-key.map /run/kept; sed -i 's/^..../0000/' /etc/steelyard/front-key.map"
    for host in ("gpu-1", "gpu-2"):
        refusing.sh(host, f"{swap}; systemctl reload steelyard-front")
    try:
        request = ONE_TOKEN.replace(b"KEY", refusing.secrets["demo_client_key"].encode())
        given = answered(refusing.address("gw-1"), 8080, request)
        assert given[0] in (502, 503)
        assert json.loads(given[2])["error"]["type"] in ("server_error", "overloaded_error")
    finally:
        for host in ("gpu-1", "gpu-2"):
            refusing.sh(host, "cp -p /run/kept /etc/steelyard/front-key.map; systemctl reload steelyard-front")


def test_what_is_no_http_gets_haproxys_own_400(refusing: HandsSite) -> None:
    """No configuration changes it before HAProxy 3.3: its connection ends before there is a request."""
    status, headers, _ = answered(refusing.address("gw-1"), 8080, b"NO HTTP\r\n\r\n")
    assert (status, headers["connection"]) == (400, "close")
