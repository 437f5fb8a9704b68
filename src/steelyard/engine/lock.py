"""One apply per fleet at a time, and nothing beside it; one rollout per alias. Locks lie on a host, their keeper, so they hold for every controller.

The keeper is the first host of the inventory that answers. A lock is a folder with its owner and the second it ends,
changed under `flock`; it is renewed while the run lives, and ends by itself when the controller is gone for `TTL_S`.
A run of this same machine whose process is gone is taken over at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import gevent
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.host import Host

from steelyard.errors import ConnectionLost, FleetLocked, LockLost, SteelyardError
from steelyard.events import Step
from steelyard.origin import Origin
from steelyard.problem import HostProblem

from .session import Session

TTL_S = 600
HELD, LOST = 75, 76  # exit codes of the script below
SCRIPT = """
d=/var/lib/steelyard; mkdir -p "$d" && exec 9>"$d/.lock-mutex" && flock -w 20 9 || exit 1
now=$(date +%s); mine="$d/$4"
ends() { cat "$1/until" 2>/dev/null || echo 0; }
shown() { if test -e "$1/owner"; then cat "$1/owner"; echo; echo "$(ends "$1") $now"; fi; }
case "$4" in lock) rivals="$d/lock $d/lock.*"; broken=$rivals ;; *) rivals="$d/lock $mine"; broken=$mine ;; esac
case "$1" in
  take) for r in $rivals; do
          if test "$(ends "$r")" -gt "$now" && ! grep -qs "$2" "$r/owner"; then shown "$r"; exit 75; fi
        done
        rm -rf "$mine"; mkdir -m 755 "$mine" && echo $((now + $3)) >"$mine/until" && cat >"$mine/owner" ;;
  renew) grep -qs "$2" "$mine/owner" || exit 76; echo $((now + $3)) >"$mine/until" ;;
  release) for r in $rivals; do if grep -qs "$2" "$r/owner"; then rm -rf "$r"; fi; done ;;
  break) for r in $broken; do shown "$r"; rm -rf "$r"; done ;;
  show) for r in $rivals; do shown "$r"; done ;;
esac
exit 0
"""


@dataclass(frozen=True)
class Held:
    """A lock as the keeper has it. `left_s` is what is left of it by the keeper's own clock; below 0: it has ended."""

    keeper: str
    origin: Origin
    until: str
    left_s: int


class Keeper:
    """The host that keeps the lock, over a connection of its own: a heartbeat must not wait for a task.

    `alias`: of a rollout, whose lock keeps out applies and rollouts of the same alias; without it, everybody.
    """

    def __init__(self, session: Session, inventory: str, ttl_s: int = TTL_S, alias: str | None = None) -> None:
        self.session, self.inventory, self.ttl_s = session, inventory, ttl_s
        self.name = "lock" if alias is None else f"lock.{re.sub(r'[^A-Za-z0-9.-]', '_', alias)}"
        self.host: Host | None = None

    def connect(self) -> None:
        """To the first host that answers. Raises that of the first one where none does."""
        self.host = self.session.first_that_answers()

    def take(self, origin: Origin) -> None:
        """Raises FleetLocked where a living run holds it."""
        held = self._take(origin)
        if held is not None and held.origin.is_gone():
            self.session.emit(Step(f"the run that held the lock is gone (pid {held.origin.pid}); it is taken over"))
            self.run("release", held.origin.run)
            held = self._take(origin)
        if held is not None:
            raise self._locked(held)

    def _take(self, origin: Origin) -> Held | None:
        status, lines = self.run("take", origin.run, stdin=json.dumps(origin.as_json()))
        return next(iter(self._held(lines)), None) if status == HELD else None

    def _locked(self, held: Held) -> FleetLocked:
        origin = held.origin
        return FleetLocked(
            where=held.keeper, who=origin.who, origin=f"{origin.host} (pid {origin.pid})", since=origin.since,
            doing=origin.doing, until=held.until, inventory=self.inventory,
        )  # fmt: skip

    def renew(self, origin: Origin) -> None:
        """Raises LockLost."""
        status, _ = self.run("renew", origin.run)
        if status == LOST:
            raise LockLost(where=str(self.host))

    def release(self, origin: Origin) -> None:
        self.run("release", origin.run)

    def show(self) -> list[Held]:
        """The fleet's lock and those of rollouts; of a keeper with an alias, the fleet's and that one."""
        return self._held(self.run("show", "-")[1])

    def break_open(self) -> list[Held]:
        """Take locks away from whoever holds them; what was held is returned. With an alias, only that one."""
        return self._held(self.run("break", "-")[1])

    def _held(self, lines: list[str]) -> list[Held]:
        """An owner, a line of JSON, is followed by the second it ends and the second it is. One that nobody can read is no lock."""
        told = [line for line in lines if line.strip()]
        found = []
        for owner, seconds in pairwise(told):
            try:
                until, now = (int(word) for word in seconds.split())
                origin = Origin.from_json(json.loads(owner))
            except (ValueError, KeyError, TypeError):
                continue
            shown = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            found.append(Held(str(self.host), origin, shown, until - now))
        return found

    def run(self, verb: str, run: str, stdin: str | None = None) -> tuple[int, list[str]]:
        """The script on the keeper: its exit code and lines. Raises the host's own errors."""
        assert self.host is not None
        command = StringCommand(
            "sh -c", QuoteString(SCRIPT), "lock", verb, QuoteString(run), str(self.ttl_s), QuoteString(self.name)
        )
        asked: dict[str, Any] = {"_sudo": bool(self.host.data.get("_sudo"))}
        password = self.host.data.get("_sudo_password")
        if password:
            asked["_sudo_password"] = password
        told = StringCommand(command, "; echo $?")
        try:
            well, output = self.host.run_shell_command(told, _stdin=stdin, **asked)
        except HostProblem:
            # the keeper may have been rebooted by this very run: its lock lies on disk
            well, output = self._again(told, stdin, asked)
        lines = output.stdout_lines
        if not well or not lines or lines[-1] not in ("0", str(HELD), str(LOST)):
            why = output.stderr_lines[-1] if output.stderr_lines else "the lock cannot be written"
            raise ConnectionLost(where=str(self.host), why=why)
        return int(lines[-1]), lines[:-1]

    def _again(self, told: StringCommand, stdin: str | None, asked: dict[str, Any]) -> Any:
        assert self.host is not None
        try:
            self.host.connector.again()  # type: ignore[attr-defined]  # ours; the engine's sessions have no other
            return self.host.run_shell_command(told, _stdin=stdin, **asked)
        except HostProblem as problem:
            raise problem.error from None


@contextmanager
def locked(keeper: Keeper, origin: Origin, lost: Callable[[SteelyardError], None]) -> Iterator[None]:
    """Hold the lock, renewed in the background; `lost` is told when it is gone while held. Raises FleetLocked."""
    keeper.connect()
    keeper.take(origin)

    def beat() -> None:
        while True:
            gevent.sleep(keeper.ttl_s / 4)
            try:
                keeper.renew(origin)
            except LockLost as error:
                lost(error)
                return
            except SteelyardError:
                continue  # unreachable for a moment: the lock holds for three more beats

    heart = gevent.spawn(beat)
    try:
        yield
    finally:
        heart.kill()
        try:
            keeper.release(origin)
        except SteelyardError:
            pass  # it ends by itself
