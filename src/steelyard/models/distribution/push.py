"""A version to many hosts at once: the origin is read once, hosts hand chunks on, each chunk is compared before it goes
on.

The controller feeds the head of the chain through its SSH channel and decides who takes from whom; the weights
themselves go from host to host. It keeps nothing: a push that is cut off is taken up from what the hosts hold.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event as Signal
from gevent.queue import Empty, Queue

from steelyard.errors import PushFailed, SteelyardError
from steelyard.events import BytesMoved, Emit, Step
from steelyard.models.content.manifest import Manifest
from steelyard_host.store.delta import FLAG, Delta
from steelyard_host.store.relay import Bucket
from steelyard_host.wire.relay import (
    Alive,
    BytesHeld,
    Corrupt,
    CorruptChunk,
    Echo,
    EchoCommand,
    Failed,
    Lost,
    Missing,
    MissingCommand,
    Predecessor,
    Published,
    PullCommand,
    Ready,
    ReceiveCommand,
    StopCommand,
    relay_event,
)

from .chain import ORIGIN, RelayChain, ThroughputTracker
from .claims import Claims
from .push_key import PushKey
from .stalls import Stalls
from .talk import Ended, Talk

if TYPE_CHECKING:
    from steelyard_host.wire.relay import RelayEvent

PROBE_CHUNKS = 2  # that each candidate for the head gets, to see who is slow
CANDIDATES = 4
LOOK_S = 0.5
READY_S = 30  # for hosts to say what they lack before the first chunk goes out
SILENT_S = 60  # a helper says that it lives every ten
LAST_WORDS_S = 5
LOSSES = 3  # predecessors that a host could not take from, until it is fed from here
TRIES = 3  # of the origin for a chunk that arrives as another


@dataclass
class Pushed:
    """The result of a push. Bytes: `origin_bytes` left the controller, `received` came to each host over any link."""

    manifest: str
    size: int
    origin_bytes: int = 0
    seconds: float = 0.0
    published: list[str] = field(default_factory=list)
    received: dict[str, int] = field(default_factory=dict)
    errors: dict[str, SteelyardError] = field(default_factory=dict)
    relinked: list[str] = field(default_factory=list)  # sentences


class Push:
    """One version on its way to hosts, until each has it or has failed."""

    def __init__(
        self,
        manifest: Manifest,
        source: Path,
        where: Mapping[str, str],
        racks: Mapping[str, str],
        rate: int | None,
        emit: Emit,
        delta: Delta | None = None,
        what: str = "weights",
    ) -> None:
        """`where`: host -> address at which the others reach it. `rate`: bytes per second that each hands on, we too,
        or None.

        `delta`: to a version whose files are here; hosts that have that version too are told what changed. `what`: it
        is called so.
        """
        self.manifest, self.source, self.rate, self.emit = manifest, source, rate, emit
        self.where, self.racks, self.what = dict(where), dict(racks), what
        self.chunks = [(name, chunk) for name, file in manifest.files.items() for chunk in file.chunks]
        self.delta = delta
        self.talks: dict[str, Talk] = {}
        self.bases: dict[str, str | None] = {}
        self.missing: dict[str, list[int]] = {}
        self.ports: dict[str, int] = {}
        self.chain = RelayChain(())
        self.throughput = ThroughputTracker(manifest.size)
        self._claims = Claims(manifest)
        self._stalls = Stalls(manifest.size, rate, max((chunk.size for _, chunk in self.chunks), default=0))
        self.result = Pushed(manifest.id, manifest.size)
        self.closing = False  # nobody can join any more
        self._key = PushKey.new()
        self._events: Queue[tuple[str, RelayEvent | Ended]] = Queue()
        self._greenlets: list[gevent.Greenlet] = []
        self._feeders: list[gevent.Greenlet] = []
        self._heard: dict[str, float] = {}
        self._echoed: dict[str, Signal] = {}
        self._ready: dict[str, Signal] = {}
        self._settled: dict[str, Signal] = {}
        self._late: set[str] = set()
        self._over = Signal()
        self._again: dict[int, int] = {}
        self._losses: dict[str, int] = {}

    def run(self, talks: Mapping[str, Talk]) -> Pushed:
        """Pushes to hosts that are talked with. A host's failure is its own; the others go on."""
        began = time.monotonic()
        try:
            for name, talk in talks.items():
                self._enter(name, talk)
            # who has much to compare before it can say what it lacks comes later, and holds nobody up
            gevent.joinall([gevent.spawn(signal.wait) for signal in list(self._ready.values())], timeout=READY_S)
            self._late |= {name for name, signal in self._ready.items() if not signal.is_set()}
            self._settle_early()
            names = [name for name in talks if name in self.ports and name not in self._late | {*self.result.errors}]
            for name in self._ordered(names):
                self.chain.add(name, self.racks.get(name, ""))
            for name in list(self.chain.feeds):
                self._link(name)
            self._watch()
        finally:
            self.closing = True
            self._end()
            self.result.seconds = time.monotonic() - began
        return self.result

    def join(self, name: str, talk: Talk, where: str, rack: str) -> None:
        """Takes in a host that comes while the push runs: it stands last in its rack."""
        self.where[name], self.racks[name] = where, rack
        self._late.add(name)
        self._enter(name, talk)

    def wait(self, name: str, over: bool = False) -> SteelyardError | None:
        """Waits until a host has the version, or never will: then why. With `over`, until all have."""
        (self._over if over else self._settled[name]).wait()
        return self.result.errors.get(name)

    def _enter(self, name: str, talk: Talk) -> None:
        self.talks[name], self._heard[name] = talk, time.monotonic()
        self._stalls.moved(name, time.monotonic())
        for signals in (self._echoed, self._ready, self._settled):
            signals[name] = Signal()
        self._greenlets += [gevent.spawn(self._listen, name, talk), gevent.spawn(self._begin, name, talk, self._key)]

    def _end(self) -> None:
        """Tells every helper to stop, and gives it a moment to say its last words."""
        gevent.killall(self._feeders)  # one that waits for a host that hangs would keep our last order back
        for talk in self.talks.values():
            self.result.origin_bytes += talk.sent
            with suppress(OSError, EOFError), gevent.Timeout(LAST_WORDS_S, False):
                talk.send_command(StopCommand())
        gevent.joinall(self._greenlets, timeout=LAST_WORDS_S)
        gevent.killall(self._greenlets, block=False)
        for talk in self.talks.values():
            talk.close()
        for signal in (*self._settled.values(), self._over):
            signal.set()

    # Talking

    def _begin(self, name: str, talk: Talk, key: PushKey) -> None:
        base = self.delta.base if self.delta else None
        first = ReceiveCommand(self.manifest.as_json(), key.certificate, key.key, self.where[name], self.rate, base)
        with suppress(OSError, EOFError):  # why is what its helper says at its end: `_listen` hears that
            talk.send_command(first)

    def _listen(self, name: str, talk: Talk) -> None:
        try:
            for event in talk.events(relay_event):
                self._heard[name] = time.monotonic()
                if event is None or isinstance(event, Alive):
                    continue
                if isinstance(event, Echo):
                    self._echoed[name].set()
                    continue
                refusal = self._claims.refusal(name, event)
                if refusal is not None:
                    self._events.put((name, Failed(f"its helper tells what cannot be: {refusal}")))
                    break
                if isinstance(event, Ready):
                    self.ports[name], self.bases[name] = event.ready, event.base
                    self.missing[name] = [n for first, last in event.missing for n in range(first, last + 1)]
                self._events.put((name, event))
                self._ready[name].set()
        except (OSError, EOFError, ValueError, RecursionError):
            pass
        self._events.put((name, Ended()))
        self._ready[name].set()
        self._echoed[name].set()

    def _settle_early(self) -> None:
        """Takes hosts out that refused before anything was sent."""
        others = []
        while not self._events.empty():
            name, event = self._events.get()
            if name in self.result.errors:
                continue  # it gave its reason
            if isinstance(event, (Failed, Ended)):
                self._failed(name, event.error if isinstance(event, Failed) else "its helper ended")
            else:
                others.append((name, event))
        for other in others:
            self._events.put(other)

    # Who takes from whom

    def _ordered(self, names: list[str]) -> list[str]:
        """The hosts as declared, a slow one not first: a slow head would hold everybody up, and nobody could tell."""
        worth = PROBE_CHUNKS * CANDIDATES * 100  # chunks: the origin sends one in a hundred twice at most
        candidates = [name for name in names if len(self.missing[name]) >= worth][:CANDIDATES]
        if len(candidates) < 2:
            return names
        took: dict[str, float] = {}

        def probe(name: str) -> None:
            began = time.monotonic()
            try:
                sent = all(self._send(name, self.missing[name].pop(0)) for _ in range(PROBE_CHUNKS))
                if sent:
                    self.talks[name].send_command(EchoCommand())
            except (OSError, EOFError):
                pass
            self._echoed[name].wait(timeout=10)
            took[name] = time.monotonic() - began

        for name in candidates:  # one after the other: they share our own link
            probe(name)
        best = min(took.values())
        late = [name for name in candidates if took[name] > 4 * best + 0.05]
        return [*(name for name in names if name not in late), *late]

    def _link(self, name: str) -> None:
        """Tells a host its predecessor, or feeds it."""
        predecessor = self.chain.feeds[name]
        if name in self.result.published:
            return
        with suppress(OSError, EOFError):  # it ended: `_listen` has its last words, which say why
            if predecessor == ORIGIN:
                self.talks[name].send_command(PullCommand(None))
                self.talks[name].send_command(MissingCommand())  # its answer starts the feeding
            else:
                peer = Predecessor(predecessor, self.where[predecessor], self.ports[predecessor])
                self.talks[name].send_command(PullCommand(peer))

    def _feed(self, name: str, missing: tuple[tuple[int, int], ...]) -> None:
        bucket = Bucket(self.rate)
        for number in (number for first, last in missing for number in range(first, last + 1)):
            if self.chain.feeds.get(name) != ORIGIN or not self._send(name, number):
                return
            gevent.sleep(bucket.due(self.chunks[number][1].size))

    def _send(self, name: str, number: int) -> bool:
        """Whether a chunk went out: not where the source cannot be read, or the host not be written to.

        Both are told as what happened, by us or by its helper's last words.
        """
        file, chunk = self.chunks[number]
        try:
            with (self.source / file).open("rb", buffering=0) as stream:
                stream.seek(chunk.offset)
                data = stream.read(chunk.size)
        except OSError as error:
            self._events.put((name, Failed(f"{file} of the source can no longer be read: {error.strerror}")))
            return False
        has_base = self.delta is not None and self.bases.get(name) == self.delta.base
        plainly = number in self._again  # it did not arrive as a delta
        packed = self.delta.encode(number, data) if self.delta and has_base and not plainly else None
        try:
            self.talks[name].chunk(*((number, data) if packed is None else (number | FLAG, packed)))
        except (OSError, EOFError):
            return False  # it ended: `_listen` has its last words, which say why
        return True

    def _relink(self, moved: list[str], why: str) -> None:
        self.result.relinked.append(why)
        self.emit(Step(why))
        for name in moved:
            self.throughput.restart(name, time.monotonic())
            self._stalls.moved(name, time.monotonic())
            self._link(name)

    # What happens

    def _watch(self) -> None:
        looked = time.monotonic()
        while self._late or set(self.chain.feeds) - set(self.result.published):
            self._take_one(timeout=LOOK_S)
            now = time.monotonic()
            if now - looked >= LOOK_S:
                looked = now
                for name in [name for name, heard in self._heard.items() if now - heard > SILENT_S]:
                    del self._heard[name]
                    self._events.put((name, Failed(f"its helper said nothing for {SILENT_S} s")))
                for name in self._stalls.stalled(self.chain, self.result.published, now):
                    self._lost(name, self.chain.feeds[name], "which says that it has more, and sends nothing")
                for name, why in self._stalls.given_up(self._unsettled(), self.chain, now).items():
                    self._events.put((name, Failed(why)))
                for name in self.throughput.slow(self.chain, now):
                    moved = self.chain.bypass(name)
                    self._relink(moved, f"{name} is slow: {', '.join(moved)} no longer waits for it")

    def _unsettled(self) -> list[str]:
        return [name for name in self.talks if name not in self.result.errors and name not in self.result.published]

    def _take_one(self, timeout: float) -> None:
        try:
            name, event = self._events.get(timeout=timeout)
        except Empty:
            return
        if name not in self.talks or name in self.result.errors:
            return
        if isinstance(event, (Ready, BytesHeld)):
            if name in self._late:
                self._late.discard(name)
                self.chain.add(name, self.racks[name])
                self._link(name)
            self.throughput.record(name, time.monotonic(), event.bytes)
            self._stalls.record(name, time.monotonic(), event.bytes)
            self.emit(BytesMoved(name, self.what, event.bytes, self.manifest.size))
        elif isinstance(event, Missing):
            if self.chain.feeds.get(name) == ORIGIN:
                self._feeders.append(gevent.spawn(self._feed, name, event.missing))
        elif isinstance(event, Published):
            self.result.published.append(name)
            self.result.received[name] = event.received
            self._settled[name].set()
            self.emit(BytesMoved(name, self.what, self.manifest.size, self.manifest.size))
        elif isinstance(event, Corrupt):
            self._corrupt(name, event.corrupt)
        elif isinstance(event, Lost):
            self._lost(name, event.lost, event.why)
        elif isinstance(event, (Failed, Ended)) and name not in self.result.published:
            why = event.error if isinstance(event, Failed) else "its helper ended, or the link to it did"
            self._failed(name, why)

    def _corrupt(self, name: str, what: CorruptChunk) -> None:
        text = f"{name}: chunk {what.chunk} of {what.file} came corrupted from {what.peer}; it is asked for again"
        self.emit(Step(text))
        self.result.relinked.append(text)
        if self.chain.feeds.get(name) != ORIGIN:
            return  # the host asks its predecessor again by itself
        self._again[what.chunk] = self._again.get(what.chunk, 0) + 1
        if self._again[what.chunk] >= TRIES:
            self._failed(name, f"chunk {what.chunk} of {what.file} is not what it was when the source was read")
            return
        self._feeders.append(gevent.spawn(self._send, name, what.chunk))

    def _lost(self, name: str, peer: str, why: str) -> None:
        """A host cannot take from its predecessor. Whether that one lives, its channel to us says.

        Next is the predecessor's own; in the end, and where no other host can be reached, it is fed from here.
        """
        if self.chain.feeds.get(name) != peer:
            return  # it was told another one meanwhile
        self._losses[name] = self._losses.get(name, 0) + 1
        self.chain.feeds[name] = ORIGIN if self._losses[name] >= LOSSES else self.chain.feeds.get(peer, ORIGIN)
        other = self.chain.feeds[name] or "this machine"
        self._relink([name], f"{name} could not take from {peer} ({why}); it takes from {other}")

    def _failed(self, name: str, why: str) -> None:
        self.result.errors[name] = PushFailed(where=name, why=why)
        self.emit(Step(f"{name}: {why}"))
        self._late.discard(name)
        self._settled[name].set()
        if name in self.chain.feeds:
            moved = self.chain.leave(name)
            if moved:
                self._relink(moved, f"{name} is out: {', '.join(moved)} takes from its predecessor")
