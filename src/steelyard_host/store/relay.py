"""One host's part in a push: it takes chunks from its predecessor, compares each, keeps it, and hands it on.

It lives as long as its SSH channel. Orders and the chunks of the chain's head come over standard input; what happens is
told on standard output, a JSON object a line. Between hosts it is TLS 1.3: both sides show, and trust, one certificate
that the controller made for this push; the key comes over standard input and is never in a file.

A frame is 8 bytes (number, length; big endian) and as many bytes; number 0xFFFFFFFF is a command, in JSON. Commands and
events are declared in wire/relay.py; the first command is ReceiveCommand.
A chunk's frame whose number has the flag of delta.py holds a delta.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from steelyard_host.errors import HelperError
from steelyard_host.store import layout, publish
from steelyard_host.store.delta import FLAG, Delta
from steelyard_host.store.layout import ManifestDocument
from steelyard_host.store.staging import Staging
from steelyard_host.wire.codec import from_json, to_json
from steelyard_host.wire.relay import (
    FRAME,
    LONGEST,
    ORDER,
    Alive,
    BytesHeld,
    ChunkRequest,
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
    are_ranges,
    relay_command,
)

if TYPE_CHECKING:
    from steelyard_host.wire.relay import Adopted, RelayEvent

TELL_S = 0.25
ALIVE_S = 10
SILENT_S = 20.0  # a predecessor that has what we want and says nothing is lost
SYNC = 32 << 20  # bytes after which the disk is asked to write, so that it need not write all of them at the end
LIES = 3  # chunks with another hash that a peer may send
PEERS = 64  # connections at once
RANGE_TEXT = 32  # bytes of a range in a request, at most
Command = TypeVar("Command")


def tell(event: RelayEvent | Adopted) -> None:
    """Writes an event to the controller."""
    sys.stdout.write(json.dumps(to_json(event)) + "\n")
    sys.stdout.flush()


def read_first(orders: BinaryIO, kind: type[Command]) -> Command:
    """The command that comes before all others. Raises EOFError, WireError."""
    number, body = read_frame(orders.read)
    if number != ORDER:
        raise EOFError("an order was due")
    return from_json(kind, json.loads(body))


class Bucket:
    """Bytes per second, shared by all who send."""

    def __init__(self, rate: int | None) -> None:
        self.rate, self._next, self._lock = rate, time.monotonic(), threading.Lock()

    def due(self, count: int) -> float:
        """Seconds to wait before, or after, so many bytes are sent."""
        if not self.rate:
            return 0.0
        with self._lock:
            now = time.monotonic()
            self._next = max(self._next, now - 0.05) + count / self.rate
            return max(0.0, self._next - now)


def read_exactly(read: Any, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        data = read(count - len(parts))
        if not data:
            raise EOFError("the link ended")
        parts += data
    return bytes(parts)


def read_frame(read: Any, longest: int = LONGEST) -> tuple[int, bytes]:
    """Number and body of the next frame. Raises EOFError where the link ends, or its body is longer than `longest`."""
    number, length = FRAME.unpack(read_exactly(read, FRAME.size))
    if length > longest:
        raise EOFError("a frame of %d bytes, and %d are the most" % (length, longest))
    return number, read_exactly(read, length)


def tls(certificate: str, key: str, server: bool) -> ssl.SSLContext:
    """Only who holds this push's key is let in. The files that `ssl` wants are in memory and have no name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=certificate)
    handle = os.memfd_create("steelyard-push")
    try:
        os.write(handle, (certificate + key).encode())
        context.load_cert_chain("/proc/self/fd/%d" % handle)
    finally:
        os.close(handle)
    return context


class Relay:
    def __init__(self, root: Path, project: str, version: str, orders: BinaryIO) -> None:
        self.root, self.project, self.version, self.orders = root, project, version, orders
        self.lock = threading.Lock()
        self.received = self.sent = 0
        self.failed: str | None = None
        self.pulling = 0  # number of the latest predecessor; an older puller ends when it sees another
        self.done = threading.Event()

    def tell(self, event: RelayEvent) -> None:
        with self.lock:
            try:
                tell(event)
            except OSError:
                os._exit(1)  # nobody listens any more

    def run(self) -> int:
        """0 when told to stop, 1 after an error was told."""
        self.order = read_first(self.orders, ReceiveCommand)
        self.manifest = ManifestDocument(self.order.manifest)
        self.bucket = Bucket(self.order.rate)
        self.delta = None if self.order.base is None else self._base(self.order.base)
        try:
            publish.require_safe_names(self.manifest)
            with publish.receiving(self.root, self.project, self.version) as folder:
                threading.Thread(target=self._live, daemon=True).start()
                self.staging = Staging(folder, self.manifest)
                self.longest = max((chunk.size for chunk in self.staging.chunks), default=0)
                return self._run()
        except HelperError as error:
            self.tell(Failed(str(error)))
        return 1

    def _run(self) -> int:
        try:
            had = self.staging.prepare(layout.held_files(self.root), layout.held_chunks(self.root))
        except OSError as error:
            return self._gave_up(error)
        listener = socket.create_server((self.order.address, 0), family=_family(self.order.address), backlog=64)
        base = self.delta.base if self.delta else None
        self.tell(Ready(listener.getsockname()[1], self.staging.missing(), had, base))
        for work in (lambda: self._listen(listener), self._progress, self._finish):
            threading.Thread(target=self._told_if_it_fails, args=(work,), daemon=True).start()
        try:
            self._follow()
        except (EOFError, ValueError):
            pass  # the controller has gone: what was received stays for the next try
        self.done.set()
        return 1 if self.failed else 0

    def _base(self, wanted: str) -> Delta | None:
        """The version that deltas are to, where this host has it and nobody changed it."""
        for record in layout.all_published(self.root):
            if record.id == wanted and not layout.altered(self.root, record):
                base = layout.manifest_of(self.root, record)
                return Delta(self.manifest, base, record.folder(self.root)) if base is not None else None
        return None

    # From the controller

    def _follow(self) -> None:
        while True:
            number, body = read_frame(self.orders.read)
            if number != ORDER:
                self._keep(number, body, "the controller")
                continue
            command = relay_command(json.loads(body))
            if isinstance(command, StopCommand):
                return
            if isinstance(command, EchoCommand):
                self.tell(Echo())
            elif isinstance(command, MissingCommand):
                self.tell(Missing(self.staging.missing()))
            elif isinstance(command, PullCommand):
                self.pulling += 1
                if command.pull is not None:
                    work = partial(self._pull, command.pull, self.pulling)
                    threading.Thread(target=self._told_if_it_fails, args=(work,), daemon=True).start()

    def _keep(self, number: int, body: bytes, peer: str) -> bool:
        try:
            taken = self.staging.take(*self._plain(number, body))
        except OSError as error:
            self._gave_up(error)
            raise EOFError("gave up") from error
        if taken:
            self.received += len(body)
        else:
            chunk = self.staging.chunks[number & ~FLAG]
            self.tell(Corrupt(CorruptChunk(chunk.file, chunk.number, peer)))
        return taken

    def _plain(self, number: int, body: bytes) -> tuple[int, bytes]:
        if not number & FLAG:
            return number, body
        number &= ~FLAG
        return number, self.delta.decode(number, body, self.staging.chunks[number].size) if self.delta else b""

    def _gave_up(self, error: OSError) -> int:
        """Tell why, and end: a full disk gives back what this push took."""
        self.failed = str(error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full:
            shutil.rmtree(self.staging.folder, ignore_errors=True)
        why = "the disk is full (%d bytes needed below %s); the space was given back" % (self.staging.total, self.root)
        self.tell(Failed("%s %s: %s; nothing was published" % (self.project, self.version, why if full else error)))
        if threading.current_thread() is not threading.main_thread():
            os._exit(1)
        return 1

    def _told_if_it_fails(self, work: Callable[[], None]) -> None:
        """A thread that died without a word would leave a helper which says for ever that it lives, and a push that
        waits for it.
        """
        try:
            work()
        except Exception as error:
            words = str(error) if isinstance(error, HelperError) else "%s: %s" % (type(error).__name__, error)
            self.failed = words
            self.tell(Failed("%s %s: %s; nothing was published" % (self.project, self.version, words)))
            os._exit(1)

    # From the predecessor

    def _pull(self, peer: Predecessor, turn: int) -> None:
        lies = 0
        try:
            context = tls(self.order.certificate, self.order.key, server=False)
            with socket.create_connection((peer.address, peer.port), timeout=SILENT_S) as plain:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with context.wrap_socket(plain) as link:
                    while not self.staging.whole and self.pulling == turn:
                        want = self.staging.missing()
                        base = self.delta.base if self.delta and not lies else None
                        body = json.dumps(to_json(ChunkRequest(self.manifest.id, want, base))).encode()
                        link.sendall(FRAME.pack(ORDER, len(body)) + body)
                        due = {number for first, last in want for number in range(first, last + 1)}
                        while due:
                            number, body = read_frame(link.recv, self.longest)
                            if self.pulling != turn:
                                return
                            if number == ORDER:  # a sign of life: it waits for the chunk itself
                                continue
                            if number & ~FLAG not in due:
                                raise OSError("it sent chunk %d, and nobody asked for that" % (number & ~FLAG))
                            due.remove(number & ~FLAG)
                            lies += not self._keep(number, body, peer.name)
                            if lies >= LIES:
                                raise OSError("it sent %d chunks that are not what they should be" % lies)
        except Exception as error:  # whatever comes of its bytes is the peer's fault, and not this host's end
            if self.pulling == turn and not self.staging.whole:
                self.tell(Lost(peer.name, str(error) or type(error).__name__))

    # To successors

    def _listen(self, listener: socket.socket) -> None:
        context = tls(self.order.certificate, self.order.key, server=True)
        free = threading.BoundedSemaphore(PEERS)
        while True:
            plain, _ = listener.accept()
            if free.acquire(blocking=False):
                threading.Thread(target=self._serve, args=(context, plain, free), daemon=True).start()
            else:
                plain.close()

    def _serve(self, context: ssl.SSLContext, plain: socket.socket, free: threading.BoundedSemaphore) -> None:
        most = RANGE_TEXT * (len(self.staging.chunks) + 32)
        try:
            plain.settimeout(SILENT_S)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(plain, server_side=True) as link:
                while True:
                    _, body = read_frame(link.recv, most)
                    asked = from_json(ChunkRequest, json.loads(body))
                    if asked.version != self.manifest.id or not are_ranges(asked.want, len(self.staging.chunks)):
                        return
                    delta = self.delta if self.delta and asked.base == self.delta.base else None
                    self._hand_on(
                        link, [number for first, last in asked.want for number in range(first, last + 1)], delta
                    )
                    link.settimeout(None)  # it may take what it lacks from elsewhere, and ask again
        except (OSError, EOFError, ValueError, RecursionError):
            return  # the successor went; the controller knows from it or from its silence
        finally:
            plain.close()
            free.release()

    def _hand_on(self, link: ssl.SSLSocket, wanted: list[int], delta: Delta | None) -> None:
        """In the order of the list; what we lack ourselves is passed over while something else is here."""
        link.settimeout(SILENT_S * 3)
        while wanted:
            later: list[int] = []
            for number in wanted:
                if self.staging.here[number] or (not later and self._soon(link, number)):
                    data = self.staging.read(number)
                    packed = delta.encode(number, data) if delta else None
                    if packed is not None:
                        data = packed
                    time.sleep(self.bucket.due(len(data)))
                    link.sendall(FRAME.pack(number | FLAG if packed is not None else number, len(data)))
                    link.sendall(data)
                    self.sent += len(data)
                else:
                    later.append(number)
            wanted = later

    def _soon(self, link: ssl.SSLSocket, number: int) -> bool:
        """Wait a little for the next chunk in order; then say that we live, and look what else there is."""
        here = self.staging.here
        with self.staging.changed:
            came = self.staging.changed.wait_for(lambda: here[number], SILENT_S / 4)
        if not came:
            link.sendall(FRAME.pack(ORDER, 0))
        return bool(came)

    # What happens

    def _live(self) -> None:
        """Comparing what is here, and the last sync, may take minutes in which there is nothing else to tell."""
        while not self.done.wait(ALIVE_S):
            self.tell(Alive())

    def _progress(self) -> None:
        told, synced = -1, self.staging.bytes
        while not self.done.wait(TELL_S):
            if self.staging.count != told:
                told = self.staging.count
                self.tell(BytesHeld(told, self.staging.bytes))
            if self.staging.bytes - synced > SYNC and not self.staging.whole:
                synced = self.staging.bytes
                threading.Thread(target=self.staging.sync_some, daemon=True).start()

    def _finish(self) -> None:
        with self.staging.changed:
            self.staging.changed.wait_for(lambda: self.staging.whole)
        try:
            self.staging.sync()
            folder = publish.publish(self.root, self.project, self.version, self.manifest, self.staging.folder)
        except OSError as error:
            self._gave_up(error)
            return
        self.staging.folder = folder
        self.tell(Published(self.manifest.id, self.received))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def run(root: Path, project: str, version: str) -> int:
    """The helper's command. `flock` keeps two pushes of one version apart; what dies leaves no lock."""
    return Relay(root, project, version, sys.stdin.buffer).run()
