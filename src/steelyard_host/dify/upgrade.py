"""Dify from one release to the next, decided on its own host: rehearsed on a copy, backed up, switched, or put back.

The controller stages the new release in a folder beside the running one. From the moment the old one stops, the host
needs nobody: what fails is restored from the backup that was made after the stop, also after a power cut.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from steelyard_host import paths
from steelyard_host.dify import backup, contents, database, exclusive, job_progress, ladder, lifecycle, vectors
from steelyard_host.dify.contents import Contents
from steelyard_host.dify.migration import DatabaseTarget, migrate
from steelyard_host.dify.stack import WRITERS, DifyError, Stack, declared_stack
from steelyard_host.dify.staging import Way, lay_over, staged, way
from steelyard_host.dify.stores import POSTGRESQL, UPWARDS, WEAVIATE
from steelyard_host.dify.vectors import Vectors
from steelyard_host.errors import HelperError
from steelyard_host.system import beneath, json_file
from steelyard_host.wire.codec import WireError, from_json, to_json
from steelyard_host.wire.dify import Rehearsed, Upgrade, UpgradeState, UpgradeStep

STATE = Path(paths.DIFY_STATE + "/upgrade.json")
OPEN = Path(paths.DIFY_STATE + "/upgrade-open")
REHEARSED = "rehearsal.json"  # beside STATE
ANSWERS_S = 60.0


def require_none_cut() -> None:
    """Refuses where an upgrade was cut and nobody went back yet: its record names the way. Raises DifyError."""
    if OPEN.exists():
        raise DifyError("an upgrade before was cut: `systemctl start steelyard-dify-recover` goes back first")


def write_rehearsed(rehearsed: Rehearsed) -> None:
    """Keeps what a rehearsal found out for the switch. Raises OSError."""
    STATE.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_atomically(STATE.with_name(REHEARSED), to_json(rehearsed), mode=0o600)


def _require_rehearsed(old: Stack, new: Stack) -> Rehearsed:
    """The record of the rehearsal of this very step. Raises DifyError."""
    try:
        rehearsed = from_json(Rehearsed, json_file.read(STATE.with_name(REHEARSED)))
    except WireError:
        rehearsed = Rehearsed(None, None, ())
    if (rehearsed.from_version, rehearsed.to) != (old.version(), new.version()):
        raise DifyError(
            "the step from %s to %s was not rehearsed here: `steelyard dify upgrade` does it first"
            % (old.version(), new.version())
        )
    return rehearsed


class _UpgradeLog:
    """What was done, when, kept on disk for whoever asks, and for the next boot."""

    def __init__(self, old: Stack, new: Stack) -> None:
        self.upgrade = Upgrade(
            state=UpgradeState.RUNNING, from_version=old.version(), to=new.version(), begun=time.time()
        )
        self._begin = time.monotonic()
        STATE.parent.mkdir(parents=True, exist_ok=True)

    def note(self, step: str, **more: Any) -> None:
        """Begins a step; `more` are fields of the upgrade that change with it."""
        job_progress.clear()
        begun = UpgradeStep(step, round(time.monotonic() - self._begin, 1))
        self.keep(steps=(*self.upgrade.steps, begun), **more)

    def keep(self, **more: Any) -> None:
        """Writes fields of the upgrade down. Raises OSError."""
        self.upgrade = self.upgrade._replace(**more)
        _write(self.upgrade)


class _Outage:
    """Asks Dify all the time, as a browser would, and adds up how long it did not answer."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._end, self.seconds, self.longest = stack, threading.Event(), 0.0, 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        down: float | None = None
        while not self._end.is_set():
            now = time.monotonic()
            if self._stack.ask("/console/api/setup")[0] == 200:
                if down is not None:
                    self.seconds += now - down
                    self.longest = max(self.longest, now - down)
                down = None
            elif down is None:
                down = now
            self._end.wait(0.25)

    def ended(self) -> float:
        """Whole seconds of silence; call it when Dify answers again."""
        time.sleep(0.6)  # the next look closes the last silence
        self._end.set()
        self._thread.join()
        return round(self.seconds, 1)


def switch() -> Upgrade:
    """Stops, backs up, switches and checks, or restores. In a unit of its own; ends as DONE, RESTORED or BROKEN.

    Without a step it was not begun: nothing was stopped, and `why` says what is in its way.
    """
    old = declared_stack()
    new = staged(old)
    try:
        with exclusive.held("an upgrade to %s" % new.version()):
            require_none_cut()
            backup.require_nothing_aside(old.folder)
            data_way, rehearsed = way(old, new), _require_rehearsed(old, new)
            if data_way.has_vectors:  # one that does not answer now would be waited for while nothing runs
                vectors.settled(old, None, data_way.old[WEAVIATE].minor, ANSWERS_S)
            return _switch(old, new, data_way, rehearsed)
    except DifyError as error:
        if OPEN.exists():
            raise  # the record is another upgrade's
        log = _UpgradeLog(old, new)
        log.keep(state=UpgradeState.RESTORED, why="nothing was stopped: %s" % error)
        return log.upgrade


class _Held(NamedTuple):
    """What Dify held when the last writer had stopped. `vectors`: None where Weaviate is not its store."""

    contents: Contents
    vectors: Vectors | None


def _switch(old: Stack, new: Stack, data_way: Way, rehearsed: Rehearsed) -> Upgrade:
    log, outage = _UpgradeLog(old, new), _Outage(old)
    OPEN.touch()
    os.sync()
    archive: Path | None = None
    try:
        log.note("stop what writes")
        old.compose("stop", *[name for name in WRITERS if name in old.declared_hashes()])
        log.note("count what has to be there afterwards")
        held = _held(old, data_way)
        _stop_stores(old, data_way)
        log.note("back up what there is")
        archive = Path(backup.make(old, "before %s" % new.version(), stopped=True).archive)
        if held.vectors is not None:
            ladder.walk(
                old, data_way.steps, held.vectors, old.ready_s, lambda step: log.note(step, archive=str(archive))
            )
        log.note("put the new release in place", archive=str(archive))
        lay_over(new.folder, old.folder)
        os.sync()
        log.note("migrate what is stored")
        _bring_over(old, data_way, held, rehearsed)
        log.note("start it")
        lifecycle.start(old, old.ready_s)
        log.note("it answers")
        log.keep(state=UpgradeState.DONE, outage=outage.ended())
        beneath.discard_tree(new.folder)
    except (DifyError, OSError) as error:
        _undo(old, archive, log, outage, str(error))
    OPEN.unlink(missing_ok=True)
    return log.upgrade


def _target(stack: Stack) -> DatabaseTarget:
    return DatabaseTarget(stack, stack.config["databases"][0])


def _held(stack: Stack, data_way: Way) -> _Held:
    """What is stored now. Raises DifyError."""
    seen = vectors.settled(stack, None, None, stack.ready_s) if data_way.has_vectors else None
    return _Held(contents.read(stack, _target(stack).database), seen)


def _stop_stores(stack: Stack, data_way: Way) -> None:
    """Stops the stores whose files the archive takes as they lie, so that they are whole. Raises DifyError."""
    others = [
        service for service, store in data_way.old.items() if store.name not in (*POSTGRESQL[:1], *UPWARDS, WEAVIATE)
    ]
    if others:
        stack.compose("stop", "--timeout", str(vectors.STOP_S), *others)
    if data_way.has_vectors:
        vectors.stop(stack)


def _bring_over(stack: Stack, data_way: Way, held: _Held, rehearsed: Rehearsed) -> None:
    """Brings database and vectors to the new release while nothing can write. Raises DifyError where something is
    lost.
    """
    stack.compose("up", "--detach", "--quiet-pull", "--wait", "redis")
    if stack.has_own_database:
        database.start(stack, stack.ready_s)
        database.settle_password(stack)
    migrate(_target(stack), rehearsed.heads, held.contents)
    if held.vectors is not None:
        start_vectors(stack, data_way, held.vectors)


def start_vectors(stack: Stack, data_way: Way, before: Vectors) -> Vectors:
    """Starts the new release's Weaviate alone, until it holds what was there before. Raises DifyError."""
    stack.compose("up", "--detach", "--no-deps", "--quiet-pull", WEAVIATE)
    return vectors.settled(stack, before, data_way.new[WEAVIATE].minor, stack.ready_s)


def _undo(stack: Stack, archive: Path | None, log: _UpgradeLog, outage: _Outage, why: str) -> None:
    log.note("go back", why=why)
    try:
        if archive is None:
            lifecycle.start(stack, stack.ready_s)  # nothing was changed yet
        else:
            stack.compose("down", "--remove-orphans", check=False)
            backup.restore(archive)
        log.note("the old release answers")
        log.keep(state=UpgradeState.RESTORED, outage=outage.ended())
    except (DifyError, OSError) as error:
        log.keep(state=UpgradeState.BROKEN, why="%s; and then: %s" % (why, error))


def recover() -> Upgrade:
    """Goes back where an upgrade was cut, at boot or where its process was killed: to the backup, or, before there was
    one, to what is there as it is. One that had come to its end stays as it ended. Raises DifyError.
    """
    with exclusive.held("the way back from an upgrade", wait=True):
        return _recover()


def _recover() -> Upgrade:
    upgrade = progress()
    if upgrade.state in (UpgradeState.DONE, UpgradeState.RESTORED):  # cut between its last word and the mark's end
        OPEN.unlink(missing_ok=True)
        return upgrade
    stack = declared_stack()
    if upgrade.archive and Path(upgrade.archive).exists():
        backup.drop_aside(stack.folder, Path(upgrade.archive))  # cut while it went back: it is of the failed release
        backup.restore(Path(upgrade.archive))
    else:
        lifecycle.start(stack, stack.ready_s)
    upgrade = upgrade._replace(state=UpgradeState.RESTORED, why="it was cut in the middle")
    _write(upgrade)
    OPEN.unlink(missing_ok=True)
    return upgrade


def progress() -> Upgrade:
    """The last upgrade of this host, with the bytes of the step that it is at now; NONE where there was none.

    Raises DifyError where its record is not one that this helper understands: what it names may be the way back.
    """
    try:
        document = json_file.read_state(STATE)
        upgrade = Upgrade.of_json(document) if document is not None else Upgrade()
    except HelperError as error:
        raise DifyError(str(error)) from error
    except WireError as error:
        raise DifyError("the record %s cannot be read: %s" % (STATE, error)) from error
    return upgrade._replace(doing=job_progress.current() if upgrade.state is UpgradeState.RUNNING else None)


def _write(upgrade: Upgrade) -> None:
    json_file.write_atomically(STATE, to_json(upgrade._replace(doing=None)), mode=0o600)
