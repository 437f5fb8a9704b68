"""A gateway on this machine: a real HAProxy with the gateway's own configuration, before engines that are simulated."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from steelyard.roles.gateway.clients import Client
from steelyard.roles.gateway.settings import Settings
from steelyard.site.schema import Serve
from steelyard.site.site import Service
from steelyard_host.proxy.haproxy import ask

from .gateway_config import gateway_config
from .real_parsers import haproxy

MIB = 1 << 20
GOOD, BODY_MIB, PER_ADDRESS = {"Authorization": "Bearer sk-one"}, 2, 40
THINKS_S = 0.005


class SimulatedEngine(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = 0
    shown: ClassVar[set[tuple[str, str]]] = set()  # the model of each body, and the key beside it

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < 1000:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self.shown.add((json.loads(body)["model"], self.headers.get("Authorization", "")))
        self.answer(body)

    def answer(self, _: bytes) -> None:
        type(self).seen += 1
        time.sleep(THINKS_S)
        body = json.dumps({"usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


class SimulatedMortalEngine:
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
        self.mortals = {"alone": [SimulatedMortalEngine()], "pair": [SimulatedMortalEngine(), SimulatedMortalEngine()]}
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
