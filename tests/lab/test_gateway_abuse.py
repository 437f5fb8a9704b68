"""One client, or a stranger, that asks for more than its share: a real HAProxy with the gateway's own configuration, in
front of an engine that is simulated.
"""

from __future__ import annotations

import http.client
import http.server
import json
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.gateway_config import gateway_config
from support.lab_site import Site
from support.real_parsers import haproxy

from steelyard.roles.gateway.clients import Client
from steelyard.roles.gateway.settings import Settings
from steelyard.site.schema import Serve
from steelyard.site.site import Service
from steelyard_host.proxy.haproxy import ask

MIB = 1 << 20
GOOD, BODY_MIB, PER_ADDRESS = {"Authorization": "Bearer sk-one"}, 2, 40


class SimulatedEngine(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = 0

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, _: bytes) -> None:
        type(self).seen += 1
        body = json.dumps({"usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


class MortalEngine:
    """A simulated engine that ends over a prompt `poison`, closes its port, and is back after half a second."""

    def __init__(self) -> None:
        self.poisoned, self.port, self.ended = 0, free_port(), threading.Event()
        threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        died, engine = threading.Event(), self

        class Handler(SimulatedEngine):
            def answer(self, body: bytes) -> None:
                if b"poison" not in body:
                    super().answer(body)
                    return
                engine.poisoned += 1
                died.set()
                self.close_connection = True

        while not self.ended.is_set():
            with http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler) as server:
                threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
                while not died.wait(0.1) and not self.ended.is_set():
                    """It lives."""
                server.shutdown()
            died.clear()
            time.sleep(0.5)


class Gateway:
    """A gateway on loopback: `tiny` is served, `gone` has no service that answers, those of `alone` and `pair` are
    mortal.
    """

    def __init__(self, folder: Path) -> None:
        self.socket, self.port = str(folder / "admin.sock"), free_port()
        self.engine = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SimulatedEngine)
        threading.Thread(target=self.engine.serve_forever, daemon=True).start()
        self.mortals = {"alone": [MortalEngine()], "pair": [MortalEngine(), MortalEngine()]}
        ports = {"tiny": [self.engine.server_port], "gone": [free_port()]}
        ports |= {alias: [engine.port for engine in engines] for alias, engines in self.mortals.items()}
        aliases = {alias: services(alias, numbers) for alias, numbers in ports.items()}
        clients = {"one": Client.model_validate({"keys": [{"key": "sk-one"}]})}
        wanted = Settings(port=self.port, clients=clients, body_mib=BODY_MIB, per_address=PER_ADDRESS)
        program, environment = haproxy()
        config = gateway_config(folder, aliases, wanted, ["g1"], self.socket)
        self.process = subprocess.Popen([program, "-db", "-f", str(config)], env=environment)
        self.until(lambda: self.asked("tiny", source="127.0.0.9") == 200)

    def until(self, done: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                if done():
                    return
            except OSError:
                pass
            assert time.monotonic() < end
            assert self.process.poll() is None
            time.sleep(0.05)

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30, source_address=(source, 0))

    def begin(self, body: bytes, headers: dict[str, str], source: str = "127.0.0.1") -> socket.socket:
        """A request whose head is whole, and whose body is what is given of it."""
        link = self.connect(source)
        lines = [f"{name}: {value}" for name, value in {"Host": "x", **headers}.items()]
        link.sendall("\r\n".join(["POST /v1/completions HTTP/1.1", *lines, "", ""]).encode() + body)
        return link

    def asked(self, alias: str, body: bytes = b"", source: str = "127.0.0.1", **headers: str) -> int:
        """The status of a whole request."""
        whole = body or json.dumps({"model": alias}).encode()
        link = self.begin(whole, {**GOOD, "Content-Length": str(len(whole)), **headers}, source)
        with link:
            return status_of(link)

    def connections(self) -> int:
        """Those that there are, with that which asks."""
        found = [line for line in ask(self.socket, "show info").splitlines() if line.startswith("CurrConns:")]
        return int(found[0].split()[1])

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.engine.shutdown()
        for engines in self.mortals.values():
            for engine in engines:
                engine.ended.set()


def services(alias: str, ports: list[int]) -> tuple[Service, ...]:
    serve = Serve(hosts="gpu")
    return tuple(
        Service(alias, "llm/x", "v1", f"g{number}", "127.0.0.1", alias, serve.model_copy(update={"port": port}))
        for number, port in enumerate(ports, start=1)
    )


def free_port() -> int:
    """One that no client's connection is given by chance."""
    while True:
        try:
            with socket.create_server(("127.0.0.1", random.randrange(20_000, 32_000))) as taken:
                return int(taken.getsockname()[1])
        except OSError:
            continue  # it is taken


def status_of(link: socket.socket) -> int:
    """The status that comes; 0 where the link ends before."""
    answer = http.client.HTTPResponse(link)
    try:
        answer.begin()
    except (OSError, http.client.HTTPException):
        return 0
    return answer.status


@pytest.fixture(scope="module")
def gateway(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`site`: a lab has HAProxy where this machine has none."""
    made = Gateway(tmp_path_factory.mktemp("gateway"))
    yield made
    made.close()


def test_a_stranger_is_refused_before_its_body_is_there(gateway: Gateway) -> None:
    """Others get their answers meanwhile; before, a body without an end was awaited for half a minute."""
    links = [gateway.begin(b"x" * 70_000, {"Content-Length": str(MIB)}) for _ in range(PER_ADDRESS - 10)]
    assert gateway.asked("tiny", source="127.0.0.2") == 200
    assert {status_of(link) for link in links} == {401}
    for link in links:
        link.close()
    whole = gateway.begin(b"{}", {"Content-Length": "2", "Authorization": "Bearer another"})
    assert status_of(whole) == 401, "a small request is read, so that its client sees why"


def test_one_address_cannot_hold_all_connections(gateway: Gateway) -> None:
    gateway.until(lambda: gateway.connections() <= 1)
    idle = []
    for _ in range(3 * PER_ADDRESS):
        try:
            idle.append(gateway.connect("127.0.0.3"))
        except OSError:
            continue  # it is reset while it is made, or right after
    gateway.until(lambda: gateway.connections() <= PER_ADDRESS + 1)
    assert gateway.asked("tiny", source="127.0.0.4") == 200
    for link in idle:
        link.close()
    gateway.until(lambda: gateway.asked("tiny", source="127.0.0.3") == 200)


def test_a_request_whose_client_has_gone_is_held_no_longer(gateway: Gateway) -> None:
    gateway.until(lambda: gateway.connections() <= 1)
    body = json.dumps({"model": "gone"}).encode()
    links = [gateway.begin(body, {**GOOD, "Content-Length": str(len(body))}, "127.0.0.5") for _ in range(20)]
    gateway.until(lambda: gateway.connections() >= 20)
    assert gateway.asked("tiny", source="127.0.0.6") == 200
    for link in links:
        link.close()
    gateway.until(lambda: gateway.connections() <= 1, seconds=20)  # `hold_s` is 120


def test_bodies_have_a_bound(gateway: Gateway) -> None:
    before = SimulatedEngine.seen
    fits = json.dumps({"model": "tiny", "prompt": "x" * (MIB + MIB // 2)}).encode()
    assert gateway.asked("tiny", fits, "127.0.0.7") == 200
    link = gateway.begin(b"", {**GOOD, "Content-Length": str(BODY_MIB * MIB + 1)}, "127.0.0.7")
    assert status_of(link) == 413, "what is announced is refused before it comes"
    chunked = {**GOOD, "Transfer-Encoding": "chunked"}
    link = gateway.begin(b'%x\r\n{"model": "tiny", "prompt": "' % (BODY_MIB * MIB), chunked, "127.0.0.7")
    threading.Thread(target=_pour, args=(link,), daemon=True).start()
    assert status_of(link) == 413, "what has no length is refused when more is there than is read"
    small = b'11\r\n{"model": "tiny"}\r\n0\r\n\r\n'
    assert status_of(gateway.begin(small, chunked, "127.0.0.7")) in (200, 411, 502)
    assert SimulatedEngine.seen <= before + 2


@pytest.mark.parametrize("alias", ["alone", "pair"])
def test_a_request_that_ends_engines_meets_two_and_the_others_are_answered(gateway: Gateway, alias: str) -> None:
    """Before, it was sent until `hold_s` was over: to each replica, and to each again as it came back."""
    gateway.until(lambda: gateway.asked(alias, source="127.0.0.8") == 200)
    others: list[int] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            others.append(gateway.asked(alias, source="127.0.0.8"))

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    gateway.until(lambda: len(others) > 10)
    body = json.dumps({"model": alias, "prompt": "poison"}).encode()
    with gateway.begin(body, {**GOOD, "Content-Length": str(len(body))}, "127.0.0.8") as link:
        answer = http.client.HTTPResponse(link)
        answer.begin()
    assert (answer.status, answer.headers["X-Should-Retry"], answer.headers["X-Steelyard-Hop"]) == (502, "false", None)
    before = len(others)
    gateway.until(lambda: len(others) > before + 30)
    done.set()
    for client in clients:
        client.join()
    assert set(others) == {200}
    # fewer where the second one met a port that was just closing
    assert sum(engine.poisoned for engine in gateway.mortals[alias]) in (1, 2)


def _pour(link: socket.socket) -> None:
    try:
        for _ in range(BODY_MIB * 16):
            link.sendall(b"x" * (MIB // 16))
    except OSError:
        pass
