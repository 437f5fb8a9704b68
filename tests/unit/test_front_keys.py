"""Keys at the front of a host, by a real HAProxy: one opens one service, and no engine is shown any."""

from __future__ import annotations

import hashlib
import http.client
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple

import pytest
from support.gateway_here import free_port
from support.real_parsers import haproxy

from steelyard.api.template import render
from steelyard.serving.key_ends import NEVER
from steelyard.serving.service_keys import accepted_lines, service_key
from steelyard_host.proxy.front import KEY_PATH

TEMPLATE = Path(__file__).parent.parent.parent / "roles/vllm/templates/front.cfg.j2"
SITE_KEY, SITE_KEY_BEFORE, KEY_OF_A_RELEASE_BEFORE = "sk-site", "sk-site-before", "sk-one-for-all"
SERVICES = ("chat", "embed")


class Front(NamedTuple):
    """A front that runs, with the ports of its services, and the headers that engines were sent."""

    ports: dict[str, int]
    shown: list[dict[str, str]]

    def ask(self, service: str, key: str | None, path: str = "/v1/models") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[service], timeout=10)
        connection.request("GET", path, headers={} if key is None else {"Authorization": f"Bearer {key}"})
        return connection.getresponse().status


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    program, environment = haproxy()
    folder = tmp_path_factory.mktemp("front")
    shown: list[dict[str, str]] = []
    engines = [_engine(folder / f"{name}.sock", shown) for name in SERVICES]
    front = Front({name: free_port() for name in SERVICES}, shown)
    process = subprocess.Popen([program, "-db", "-q", "-f", str(_config(folder, front.ports))], env=environment)
    try:
        end = time.monotonic() + 10
        while not _answers(front) and time.monotonic() < end:
            time.sleep(0.05)
        yield front
    finally:
        process.kill()
        process.wait()
        for engine in engines:
            engine.shutdown()
            engine.server_close()


def _answers(front: Front) -> bool:
    try:
        return front.ask("chat", None, "/health") == 200
    except OSError:
        return False


def _config(folder: Path, ports: dict[str, int]) -> Path:
    before = accepted_lines(SITE_KEY_BEFORE, SERVICES)
    before += f"{hashlib.sha256(KEY_OF_A_RELEASE_BEFORE.encode()).hexdigest()} {NEVER}\n"
    (folder / "key.map").write_text(accepted_lines(SITE_KEY, SERVICES))
    (folder / "before.map").write_text(before)
    (folder / "versions.map").write_text("# empty\n")
    text = render(
        TEMPLATE,
        stamp="0123",
        services=[(name, port, False) for name, port in ports.items()],
        socket=f"{folder}/admin.sock",
        here=f"{folder}/here.sock",
        with_key=True,
        key=f"{folder}/key.map",
        before=f"{folder}/before.map",
        versions=f"{folder}/versions.map",
        key_path=KEY_PATH,
        no_key="status 401",
        errors=[],
    )
    for name in SERVICES:
        text = text.replace(f"/run/steelyard/{name}/engine.sock", f"{folder}/{name}.sock")
        text = text.replace(f"/run/steelyard/{name}--surge/engine.sock", f"{folder}/{name}-second.sock")
    path = folder / "front.cfg"
    path.write_text(text)
    return path


def _engine(path: Path, shown: list[dict[str, str]]) -> socketserver.BaseServer:
    class Engine(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def address_string(self) -> str:
            return "front"

        def log_message(self, *_: object) -> None: ...

    server = socketserver.ThreadingUnixStreamServer(str(path), Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize("service", SERVICES)
def test_a_key_opens_its_own_service_and_no_other(front: Front, service: str) -> None:
    [other] = set(SERVICES) - {service}
    assert front.ask(service, service_key(SITE_KEY, service)) == 200
    assert front.ask(service, service_key(SITE_KEY, service), KEY_PATH) == 204
    for key in (service_key(SITE_KEY, other), SITE_KEY, None, "", f"{service}:{service_key(SITE_KEY, service)}"):
        assert front.ask(service, key) == 401, key
        assert front.ask(service, key, KEY_PATH) == 401, key


def test_keys_of_before_open_what_they_opened(front: Front) -> None:
    assert front.ask("chat", service_key(SITE_KEY_BEFORE, "chat")) == 200
    assert front.ask("chat", service_key(SITE_KEY_BEFORE, "embed")) == 401
    assert [front.ask(service, KEY_OF_A_RELEASE_BEFORE) for service in SERVICES] == [200, 200]


def test_an_engine_is_shown_no_key(front: Front) -> None:
    front.shown.clear()
    for path in ("/v1/models", "/health", "/metrics", "/version"):
        assert front.ask("chat", service_key(SITE_KEY, "chat"), path) == 200
    assert len(front.shown) == 4
    assert not [headers for headers in front.shown if "authorization" in {name.lower() for name in headers}]
