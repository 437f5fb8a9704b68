"""A host of a push that lies, or asks for what cannot be, is out or passed by; the others get their version."""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import gevent
import pytest
from gevent.event import Event as Signal
from push_fleet import PROJECT, Fleet

from steelyard.lab.simulated.slow_link import LocalRelay
from steelyard.models.content.manifest import Manifest
from steelyard.models.distribution import stalls
from steelyard.models.distribution.push import Push, Pushed
from steelyard.models.distribution.push_key import PushKey
from steelyard.models.sources.resolve import read_manifest
from steelyard_host.store.delta import FLAG
from steelyard_host.store.relay import LIES as LIES_TOLD
from steelyard_host.store.relay import PEERS, read_frame, tls
from steelyard_host.wire.codec import to_json
from steelyard_host.wire.relay import FRAME, ORDER, ReceiveCommand, are_ranges

Event = TypeVar("Event")
Behaviour = Callable[[ssl.SSLSocket, Manifest], None]


class LyingHost:
    """A helper that says what a test wants it to, and serves its successors as `serves` does."""

    def __init__(self, manifest: Manifest, says: list[dict[str, Any]], serves: Behaviour | None = None) -> None:
        self.manifest, self.says, self.serves, self.sent = manifest, says, serves, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._began, self._closed = Signal(), Signal()

    def send_command(self, command: NamedTuple) -> None:
        if isinstance(command, ReceiveCommand):
            self._context = tls(command.certificate, command.key, server=True)
            threading.Thread(target=self._serve, daemon=True).start()
            self._began.set()

    def chunk(self, number: int, data: bytes) -> None:
        self.sent += len(data)

    def events(self, read: Callable[[object], Event]) -> Iterator[Event]:
        self._began.wait()
        for said in self.says:
            yield read({**said, "ready": self._listener.getsockname()[1]} if said.get("ready") == "here" else said)
        while not self._closed.wait(0.2):
            yield read({"alive": True})

    def close(self) -> None:
        self._closed.set()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
                with self._context.wrap_socket(plain, server_side=True) as link:
                    read_frame(link.recv)
                    if self.serves:
                        self.serves(link, self.manifest)
            except OSError:
                if self._listener.fileno() < 0:
                    return


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Fleet(tmp_path)


def push_beside(fleet: Fleet, says: list[dict[str, Any]], serves: Behaviour | None = None) -> Pushed:
    """h0, the liar and h2 in a chain; `evil` tells of itself what `says` has."""
    source = fleet.source()
    manifest = read_manifest(PROJECT, f"file://{source}", "models.yml")
    filled = json.loads(json.dumps(says).replace('"SIZE"', str(manifest.size)).replace("MANIFEST", manifest.id))
    fleet.talks = {name: LocalRelay(fleet.root(name), PROJECT, "v1") for name in ("h0", "h2")}
    talks = {"h0": fleet.talks["h0"], "evil": LyingHost(manifest, filled, serves), "h2": fleet.talks["h2"]}
    pushed = Push(manifest, source, dict.fromkeys(talks, "127.0.0.1"), {}, None, fleet.events.append).run(talks)
    assert [name for name in ("h0", "h2") if fleet.holds(name, source)] == ["h0", "h2"]
    return pushed


READY = {"ready": "here", "missing": [], "bytes": "SIZE"}
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "a port that is none": ({**READY, "ready": 0}, "port 0"),
    "chunks that are none": ({**READY, "missing": [[0, 20_000_000]]}, "it lacks chunks outside"),
    "a chunk before the first": ({**READY, "missing": [[-3, 0]]}, "it lacks chunks outside"),
    "a range that ends before it begins": ({**READY, "missing": [[5, 1]]}, "it lacks chunks outside"),
    "a chunk twice": ({**READY, "missing": [[0, 3], [2, 4]]}, "it lacks chunks outside"),
    "more bytes than there are": ({**READY, "bytes": 1 << 60}, "bytes of"),
    "fewer than none": ({**READY, "bytes": -1}, "bytes of"),
    "another version": ({"published": "another"}, "published another, which nobody pushes"),
    "a corrupt chunk of nothing": (
        {"corrupt": {"file": "../x", "chunk": 0, "peer": "h0"}},
        "a chunk of ../x that is none of this version",
    ),
    "a word of another type": ({"at": "many", "bytes": {}}, "its helper ended"),
}


@pytest.mark.parametrize("lie", LIES)
def test_who_tells_what_cannot_be_is_out_with_the_reason(fleet: Fleet, lie: str) -> None:
    said, why = LIES[lie]
    pushed = push_beside(fleet, [said] if "ready" in said else [READY, said])
    assert list(pushed.errors) == ["evil"]
    assert why in str(pushed.errors["evil"])
    assert sorted(pushed.published) == ["h0", "h2"]


def orders_for_ever(link: ssl.SSLSocket, manifest: Manifest) -> None:
    while True:
        link.sendall(FRAME.pack(ORDER, 0))
        gevent.sleep(0.01)


def deltas_to_nothing(link: ssl.SSLSocket, manifest: Manifest) -> None:
    for number in range(LIES_TOLD):
        link.sendall(FRAME.pack(FLAG | number, 8) + b"\0" * 8)
    gevent.sleep(5)


def frame(number: int, size: int, length: int | None = None) -> Behaviour:
    def send(link: ssl.SSLSocket, manifest: Manifest) -> None:
        link.sendall(FRAME.pack(number, size if length is None else length) + b"\0" * size)
        gevent.sleep(5)

    return send


@pytest.mark.parametrize(
    ("serves", "why"),
    [
        (orders_for_ever, "says that it has more, and sends nothing"),
        (frame(0x3FFFFFFF, 8), "nobody asked for that"),
        (frame(0, 8, 60 << 20), "are the most"),
        (deltas_to_nothing, "it sent 3 chunks that are not what they should be"),
    ],
    ids=["signs of life for ever", "a number that is none", "a frame without end", "a delta to nothing"],
)
def test_who_says_it_has_all_and_sends_nothing_of_use_is_passed_by(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, serves: Behaviour, why: str
) -> None:
    monkeypatch.setattr(stalls, "STALLED_S", 1.0)
    pushed = push_beside(fleet, [READY, {"published": "MANIFEST"}], serves)
    assert pushed.errors == {}
    passed = [text for text in pushed.relinked if text.startswith("h2 could not take from evil")]
    assert passed and re.search(why, passed[0])


def test_who_takes_nothing_is_given_up_and_no_push_waits_for_ever(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, "STALLED_S", 0.5)
    monkeypatch.setattr(stalls, "GIVEN_UP_S", 2.0)
    pushed = push_beside(fleet, [{**READY, "missing": [[0, 3]], "bytes": 0}])
    assert list(pushed.errors) == ["evil"]
    assert "it took nothing that was sent" in str(pushed.errors["evil"])


class Host:
    """One real helper that takes part in a push, for who asks it."""

    def __init__(self, fleet: Fleet) -> None:
        self.source = fleet.source()
        self.manifest = read_manifest(PROJECT, f"file://{self.source}", "models.yml")
        self.key = PushKey.new()
        self.relay = LocalRelay(fleet.root("h0"), PROJECT, "v1")
        self.relay.send_command(
            ReceiveCommand(self.manifest.as_json(), self.key.certificate, self.key.key, "127.0.0.1")
        )
        self.port = next(said for said in self._said() if "ready" in said)["ready"]

    def _said(self) -> Iterator[dict[str, Any]]:
        return (json.loads(line) for line in self.relay.process.stdout)

    def ask(self, request: object) -> bytes:
        """What a successor gets that shows the key of the push: empty where the host hangs up."""
        link = tls(self.key.certificate, self.key.key, server=False).wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), timeout=10)
        )
        with link:
            body = json.dumps(to_json(request)).encode()
            try:
                link.sendall(FRAME.pack(ORDER, len(body)) + body)
                return link.recv(1)
            except OSError:  # it hung up while we spoke
                return b""

    def peak_mib(self) -> int:
        return self.status("VmHWM") >> 10

    def status(self, field: str) -> int:
        """A number that the kernel gives of the host's process."""
        text = Path(f"/proc/{self.relay.process.pid}/status").read_text()
        return int(re.findall(rf"^{field}:\s*(\d+)", text, re.M)[0])


def test_what_a_successor_asks_for_is_bounded(fleet: Fleet) -> None:
    host = Host(fleet)
    before = host.peak_mib()
    most = len([chunk for file in host.manifest.files.values() for chunk in file.chunks])
    for want in ([[0, 2 * 10**7]], [[-2, 1]], [[5, 1]], [[0, 3], [0, 3]], [[0, most]], [[0, 10**30]]):
        assert host.ask({"version": host.manifest.id, "want": want, "base": None}) == b"", want
    for request in ({}, [], {"version": host.manifest.id, "want": [[0, 0]] * 300_000}, "[" * 3000):
        assert host.ask(request) == b"", str(request)[:80]
    threads = host.status("Threads")
    strangers = [socket.create_connection(("127.0.0.1", host.port), timeout=10) for _ in range(2 * PEERS)]
    ready: list[socket.socket] = []
    while not ready:  # more connections than a helper has threads for are closed at once
        ready, _, _ = select.select(strangers, [], [], 60)
        assert ready
        assert host.status("Threads") <= threads + PEERS
    assert ready[0].recv(1) == b""
    for stranger in strangers:
        stranger.close()
    assert host.peak_mib() < before + 40
    data = {name: (host.source / name).read_bytes() for name in host.manifest.files}
    chunks = [(name, chunk) for name, file in host.manifest.files.items() for chunk in file.chunks]
    for number, (name, chunk) in enumerate(chunks):
        host.relay.chunk(number, data[name][chunk.offset : chunk.offset + chunk.size])
    assert any(said.get("published") == host.manifest.id for said in host._said())
    host.relay.kill()


@pytest.mark.parametrize(
    ("ranges", "count", "fine"),
    [
        ((), 0, True),
        (((0, 0),), 1, True),
        (((0, 3), (4, 4), (6, 9)), 10, True),
        (((0, 3), (3, 4)), 10, False),
        (((4, 5), (0, 1)), 10, False),
        (((0, 10),), 10, False),
        (((-1, 2),), 10, False),
        (((3, 2),), 10, False),
    ],
)
def test_ranges_are_in_order_apart_and_below_the_count(
    ranges: tuple[tuple[int, int], ...], count: int, fine: bool
) -> None:
    assert are_ranges(ranges, count) is fine
