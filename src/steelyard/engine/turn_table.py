"""The turns of a run (`api.turn`): which host is in one, which wait for it, and which may not have it. A host leaves
only while another one serves, and not at all once one that left did not come back.

Nothing here knows a task or a command; `execute` says when a host leaves and whether it is back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gevent.event import Event

from steelyard.api.turn import ReplicaTurn
from steelyard.errors import NotRestarted

NOT_BACK = "did not come back"
NOT_SERVING = "does not serve"
# servers that came back -> those that gateways do not see up, with what is the matter
Unseen = Callable[[tuple[str, ...]], Mapping[str, str]]


class RunStopped(Exception):
    """The run ended while a host waited for its turn."""


@dataclass
class _Row:
    """One turn. `members`: hosts of the run that offer it; the sets are parts of them.

    `starting`: they do not serve yet, and are about to; `down`: they do not serve, and nothing is about to change that.
    """

    members: set[str] = field(default_factory=set)
    starting: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    holder: str | None = None
    has_left: bool = False  # the holder: what it offered is away
    back: dict[str, str] = field(default_factory=dict)  # came back in this run, with the server that gateways must see
    lost: str | None = None
    why: str = NOT_BACK

    def others(self, host: str) -> set[str]:
        """Hosts that serve while this one does not."""
        return self.members - self.starting - self.down - {host, self.lost}

    def away(self, host: str) -> set[str]:
        """Hosts for which this one waits, while it does."""
        return ({self.holder} if self.holder is not None else self.starting) - {host}

    def refusal(self, host: str) -> tuple[str, str] | None:
        """Return who is the reason that the host may not leave, and why; None where it may, now or later."""
        if self.lost is not None:
            return self.lost, self.why
        if self.members <= {host} or self.others(host) or self.starting - {host}:
            return None
        return min(self.down - {host}), NOT_SERVING

    def is_free(self, host: str) -> bool:
        return self.holder in (None, host) and bool(self.others(host) or not self.starting - {host})


@dataclass(eq=False)
class _Waiting:
    host: str
    turns: tuple[ReplicaTurn, ...]
    granted: Event = field(default_factory=Event)


class TurnTable:
    """The turns of one run. `is_stopped`: nothing further may begin; `unseen`: asks the gateways; `tell`: gets a host
    and what it waits for, an empty text when it waits no more.
    """

    def __init__(
        self,
        is_stopped: Callable[[], bool],
        unseen: Unseen = lambda servers: {},
        tell: Callable[[str, str], None] = lambda host, text: None,
    ) -> None:
        self._is_stopped, self._unseen, self._tell = is_stopped, unseen, tell
        self._rows: dict[str, _Row] = {}
        self._queue: list[_Waiting] = []

    def add(self, host: str, turn: ReplicaTurn, serves: bool) -> None:
        """A host of the run offers the turn; whether it serves as the run begins."""
        row = self._rows.setdefault(turn.name, _Row())
        row.members.add(host)
        if not serves:
            row.down.add(host)

    def begin(self, hosts: Iterable[str]) -> None:
        """A wave of these hosts begins: those that do not serve are about to."""
        for row in self._rows.values():
            row.starting |= row.down & set(hosts)
            row.down -= row.starting

    def take(self, host: str, turns: Sequence[ReplicaTurn]) -> None:
        """Wait until the host is in all of the turns; at once where it is already.

        Raises NotRestarted where it may not be, RunStopped where the run ends first.
        """
        missing = tuple(turn for turn in turns if self._rows[turn.name].holder != host)
        if not missing:
            return
        waiting = _Waiting(host, missing)
        self._queue.append(waiting)
        self._grant()
        if not waiting.granted.is_set():
            away = {name for turn in missing for name in self._rows[turn.name].away(host)}
            self._tell(host, f"waits for {', '.join(sorted(away))}")
            waiting.granted.wait()
            self._tell(host, "")
        if self._is_stopped():
            self._free(host, missing)
            raise RunStopped
        for turn in missing:
            refusal = self._rows[turn.name].refusal(host) or self._not_seen(turn.name)
            if refusal is not None:
                self._free(host, missing)
                other, why = refusal
                raise NotRestarted(where=host, service=turn.name, other=other, why=why)

    def _not_seen(self, name: str) -> tuple[str, str] | None:
        """Who came back, and is not seen by the gateways: then nobody leaves any more."""
        row = self._rows[name]
        servers = {server: host for host, server in row.back.items()}
        unseen = self._unseen(tuple(servers)) if servers else {}
        for server, what in sorted(unseen.items()):
            row.lost, row.why = servers[server], what
            return row.lost, what
        row.back.clear()  # asked once
        return None

    def leave(self, host: str, turns: Iterable[ReplicaTurn]) -> None:
        """The host's part of these turns, which it is in, is about to be away."""
        for turn in turns:
            self._rows[turn.name].has_left = True

    def start(self, host: str, turns: Iterable[ReplicaTurn]) -> None:
        """The host's part of these turns is away, and is about to be brought back."""
        for turn in turns:
            row = self._rows[turn.name]
            row.starting.add(host)
            row.down.discard(host)

    def end(self, host: str, turns: Iterable[ReplicaTurn], well: bool) -> None:
        """The host is through with its tasks in these turns; where they did not end well, what was away stays away."""
        for turn in turns:
            row = self._rows[turn.name]
            left, started = row.holder == host and row.has_left, host in row.starting
            if row.holder == host:
                row.holder, row.has_left = None, False
            row.starting.discard(host)
            if well and (left or started):
                row.back[host] = turn.server
            elif left:
                row.lost = row.lost or host
            elif started:
                row.down.add(host)
        self._grant()

    def end_all(self, host: str, turns: Iterable[ReplicaTurn]) -> None:
        """The host goes no further: what it has in turn, or was about to bring back, did not come back."""
        mine = [turn for turn in turns if self._concerns(host, self._rows[turn.name])]
        self.end(host, mine, well=False)

    def _concerns(self, host: str, row: _Row) -> bool:
        return row.holder == host or host in row.starting

    def _free(self, host: str, turns: Iterable[ReplicaTurn]) -> None:
        for turn in turns:
            row = self._rows[turn.name]
            if row.holder == host:
                row.holder, row.has_left = None, False
        self._grant()

    def _grant(self) -> None:
        """Let go on who can, in the order in which they came; who waits for several turns gets them together."""
        for waiting in list(self._queue):
            rows = [self._rows[turn.name] for turn in waiting.turns]
            if self._is_stopped() or any(row.refusal(waiting.host) for row in rows):
                pass
            elif all(row.is_free(waiting.host) for row in rows):
                for row in rows:
                    row.holder = waiting.host
            else:
                continue
            self._queue.remove(waiting)
            waiting.granted.set()
