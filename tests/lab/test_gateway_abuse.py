"""One client, or a stranger, that asks for more than its share: a real HAProxy with the gateway's own configuration, in
front of an engine that is simulated.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.abuse import KINDS
from support.gateway_here import BODY_MIB, GOOD, MIB, PER_ADDRESS, Gateway, SimulatedEngine, status_of
from support.lab_site import Site

COUNTS = os.environ.get("STEELYARD_ABUSE_COUNTS")
REQUESTS = 2000 if COUNTS else 200  # of good clients, calm and beside each kind


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


class GoodClients:
    """Three that ask one after another; what they were answered, and how long each answer took, in seconds."""

    def __init__(self, gateway: Gateway) -> None:
        self.statuses: list[int] = []
        self.took: list[float] = []
        self._gateway, self._done = gateway, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(f"127.0.1.{n}",)) for n in (1, 2, 3)]

    def _ask(self, source: str) -> None:
        while not self._done.is_set():
            begun = time.monotonic()
            try:
                self.statuses.append(self._gateway.asked("tiny", source=source))
            except OSError:
                self.statuses.append(0)
            self.took.append(time.monotonic() - begun)

    def during(self, requests: int) -> list[float]:
        """What so many requests take."""
        begun = len(self.took)
        for thread in self._threads:
            if not thread.is_alive():
                thread.start()
        self._gateway.until(lambda: len(self.took) >= begun + requests)
        return self.took[begun:]

    def end(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("kind", KINDS)
def test_three_good_clients_are_answered_beside(gateway: Gateway, kind: str) -> None:
    good = GoodClients(gateway)
    calm = good.during(REQUESTS)
    abuser = subprocess.Popen(
        [sys.executable, "-m", "support.abuse", kind, str(gateway.port)], cwd=Path(__file__).parents[1]
    )
    try:
        good.during(REQUESTS // 10)  # it has begun
        beside = good.during(REQUESTS)
        assert abuser.poll() is None, "it ended"
    finally:
        abuser.kill()
        abuser.wait()
        good.end()
    keep(kind, calm, beside, good.statuses)
    assert set(good.statuses) == {200}
    gateway.until(lambda: gateway.connections() <= 1, seconds=90)


def keep(kind: str, calm: list[float], beside: list[float], statuses: list[int]) -> None:
    """One line for `make test-abuse`."""
    if COUNTS:
        p95 = [statistics.quantiles(took, n=20)[-1] * 1000 for took in (calm, beside)]
        failed = sum(status != 200 for status in statuses)
        row = {"kind": kind, "asked": len(statuses), "failed": failed, "calm_p95_ms": p95[0], "p95_ms": p95[1]}
        with Path(COUNTS).open("a") as file:
            file.write(json.dumps(row) + "\n")
