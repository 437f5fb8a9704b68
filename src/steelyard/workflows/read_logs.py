"""Journals of many hosts at once, as entries in the order of time; followed over connections that may be lost.

journalctl writes one JSON object a line. It is told to end by its standard input: closing a channel does not end a
program that has nothing to say, and an idle unit's reader would stay on the host for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import gevent
from gevent import Greenlet
from gevent.queue import Empty, Queue
from pyinfra.api.command import QuoteString, StringCommand

from steelyard.api.host_error import HostError
from steelyard.errors import ConnectionLost, FactFailed
from steelyard.modules.connectors.connection import connection_of

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.engine.session import Session

FIELDS = "MESSAGE,_SYSTEMD_UNIT,UNIT,PRIORITY,_PID,SYSLOG_IDENTIFIER"
SETTLE_S = 0.3  # within which what several hosts said is put into order
LONGEST_S = 30  # between two tries to connect again


class LogEntry(NamedTuple):
    """One entry of a host's journal. `at`: microseconds of the epoch; `priority`: syslog's, 7 is the least."""

    at: int
    host: str
    unit: str
    text: str
    priority: int = 6
    cursor: str = ""

    def as_json(self) -> dict[str, object]:
        """The entry's object, a line of `logs --json`."""
        return {"at": self.at, "host": self.host, "unit": self.unit, "priority": self.priority, "text": self.text}


class LogRequest(NamedTuple):
    """The units of each host, and how much of them: the last `lines`, or all since `since`; what comes, too."""

    units: Mapping[str, tuple[str, ...]]
    lines: int
    since: str | None = None
    follow: bool = False


def journal_command(units: tuple[str, ...], request: LogRequest, cursor: str = "") -> StringCommand:
    """The command that prints entries; behind `cursor`, where a reader was there before."""
    argv = ["journalctl", "--quiet", "--no-pager", "--all", "-o", "json", f"--output-fields={FIELDS}"]
    for unit in units:
        argv += ["-u", unit]
    if cursor:
        argv += [f"--after-cursor={cursor}"]
    else:
        argv += ["-n", "all" if request.since else str(request.lines)]
        argv += ["--since", request.since] if request.since else []
    if not request.follow:
        return StringCommand(*map(QuoteString, argv))
    # what is read of standard input is nothing; its end is the word to end
    return StringCommand(
        *map(QuoteString, [*argv, "-f"]), "</dev/null & p=$!; cat >/dev/null; kill $p 2>/dev/null; wait $p"
    )


def entry_of(host: str, document: object) -> LogEntry:
    """An entry of a line's JSON. Raises FactFailed where the reader said why it ended."""
    if not isinstance(document, dict) or "error" in document:
        why = str(document["error"]) if isinstance(document, dict) else "no entry"
        raise FactFailed(where=host, fact="`journalctl`", why=why)
    unit = str(document.get("UNIT") or document.get("_SYSTEMD_UNIT") or "")
    at, priority = int(document.get("__REALTIME_TIMESTAMP", 0)), document.get("PRIORITY")
    text = _text(document.get("MESSAGE"))
    return LogEntry(at, host, unit, text, int(priority) if priority else 6, str(document.get("__CURSOR", "")))


def _text(message: object) -> str:
    """A message that holds control characters comes as numbers, one that is too long as nothing."""
    if isinstance(message, list):
        return bytes(int(byte) & 0xFF for byte in message).decode(errors="replace")
    return str(message) if message is not None else "(too long to be shown)"


class LogReader:
    """Reads the hosts of a session side by side. `note` gets sentences about connections."""

    def __init__(self, session: Session, request: LogRequest, note: Callable[[str], None]) -> None:
        self.session, self.request, self.note = session, request, note
        self._entries: Queue[LogEntry] = Queue()
        self.reconnected = 0

    def batches(self) -> Iterator[list[LogEntry]]:
        """Yield entries in the order of time: all of them where nothing is followed, else what came meanwhile."""
        reading = gevent.spawn(self.session.each, self._read)
        try:
            if self.request.follow:
                yield from self._followed(reading)
            else:
                reading.get()
                entries = sorted(self._drained())
                yield entries if self.request.since else entries[max(0, len(entries) - self.request.lines) :]
        finally:
            reading.kill()

    def _followed(self, reading: Greenlet) -> Iterator[list[LogEntry]]:
        while not reading.ready() or not self._entries.empty():
            batch = self._drained()
            if batch:
                yield sorted(batch)
            reading.join(SETTLE_S)
        reading.get()

    def _drained(self) -> list[LogEntry]:
        batch = []
        while True:
            try:
                batch.append(self._entries.get_nowait())
            except Empty:
                return batch

    def _read(self, host: Host) -> None:
        """One host's entries, to its end; connected again where the connection is lost while they are followed."""
        cursor, pause = "", 1.0
        connection = connection_of(host)
        while True:
            try:
                stream = connection.open_stream(journal_command(self.request.units[host.name], self.request, cursor))
                try:
                    for entry in stream.events(lambda document: entry_of(host.name, document)):
                        cursor, pause = entry.cursor, 1.0
                        self._entries.put(entry)
                finally:
                    stream.close()
                if not self.request.follow:
                    return
                why = "its reader ended"
            except (OSError, EOFError) as error:
                why = str(error) or "the link ended"
                if not self.request.follow:
                    raise HostError(ConnectionLost(where=host.name, why=why)) from error
            except FactFailed as error:
                raise HostError(error) from error
            self.note(f"{host.name}: connection lost ({why}); trying again")
            self._again(host, pause)
            pause = min(LONGEST_S, pause * 2)
            self.reconnected += 1
            self.note(f"{host.name}: connected again")

    def _again(self, host: Host, pause: float) -> None:
        while True:
            gevent.sleep(pause)
            try:
                connection_of(host).again()
                return
            except HostError:
                pause = min(LONGEST_S, pause * 2)
