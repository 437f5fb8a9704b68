"""Dify from one release to the next, decided on its own host: rehearsed on a copy, backed up, switched, or put back.

The controller stages the new release in a folder beside the running one. From the moment the old one stops, the host
needs nobody: what fails is restored from the backup that was made after the stop, also after a power cut.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
import time
from pathlib import Path
from typing import Any

from steelyard_host import paths
from steelyard_host.dify import archive as archives
from steelyard_host.dify import backup, database, env_file, exclusive, job_progress, lifecycle
from steelyard_host.dify.stack import RECORD, WRITERS, DifyError, Stack, declared_stack
from steelyard_host.errors import HelperError
from steelyard_host.system import beneath, json_file
from steelyard_host.wire.codec import WireError, to_json
from steelyard_host.wire.dify import Pulled, Rehearsal, Upgrade, UpgradeState, UpgradeStep

STATE = Path(paths.DIFY_STATE + "/upgrade.json")
OPEN = Path(paths.DIFY_STATE + "/upgrade-open")


def staged(stack: Stack) -> Stack:
    """The release that is staged beside the running one. Raises DifyError."""
    new = Stack(stack.config, stack.folder.with_name(stack.folder.name + ".next"))
    if new.version() is None:
        raise DifyError("no release is staged in %s" % new.folder)
    return new


def pull() -> Pulled:
    """Fetches every image of the staged release, before anything stops. Raises DifyError."""
    begin = time.monotonic()
    new = staged(declared_stack())
    new.compose("pull", "--quiet")
    return Pulled(new.version(), round(time.monotonic() - begin, 1))


def rehearse() -> Rehearsal:
    """Restores the newest backup into a scratch project and migrates it with the staged release. Raises DifyError."""
    with exclusive.held("a rehearsal"):
        _require_none_cut()
        backup.require_nothing_aside(declared_stack().folder)
        return _rehearse()


def _require_none_cut() -> None:
    """Raises DifyError where an upgrade was cut and nobody went back yet: its record names the way."""
    if OPEN.exists():
        raise DifyError("an upgrade before was cut: `systemctl start steelyard-dify-recover` goes back first")


def _rehearse() -> Rehearsal:
    begin = time.monotonic()
    stack = declared_stack()
    new = staged(stack)
    # of the release that runs: an older one's would rehearse another jump
    every = Path(stack.config["backups"]).glob("dify-%s-*.tar.gz" % stack.version())
    newest = max(every, key=lambda path: path.name, default=None)
    archive = newest or Path(backup.make(stack, "for a rehearsal").archive)
    listed = archives.verify(archive)
    folder = stack.folder.with_name(stack.folder.name + ".rehearsal")
    scratch = Stack(stack.config, folder, stack.project + "-rehearsal")
    shared = not stack.has_own_database
    names = {name: ("steelyard_rehearsal_" + name if shared else name) for name in listed.databases}
    work = folder.with_name(folder.name + "-archive")
    try:
        for left in (folder, work):
            beneath.discard_tree(left)
        archives.extract(archive, work)
        os.rename(work / "dify", folder)
        lay_over(new.folder, folder)
        scratch.compose("up", "--detach", "--quiet-pull", "--wait", "redis")
        database.start(scratch, scratch.ready_s)
        for name, to in names.items():
            database.restore(scratch, to, work / "db" / (name + ".dump"))
        options = ["--rm", "--no-deps", "--quiet-pull", "-T", "-e", "MODE=migration", "-e", "MIGRATION_ENABLED=true"]
        if shared:
            options += ["-e", "DB_DATABASE=" + names[stack.config["databases"][0]]]
        scratch.compose("run", *options, "api")
    finally:
        if (folder / "docker-compose.yaml").exists():
            scratch.compose("down", "--remove-orphans", "--volumes", check=False)
            if shared:
                for to in names.values():
                    database.query(stack, "postgres", 'DROP DATABASE IF EXISTS "%s" WITH (FORCE)' % to)
        for left in (folder, work):
            beneath.discard_tree(left)
    seconds = round(time.monotonic() - begin, 1)
    return Rehearsal(str(archive), listed.version, new.version(), seconds)


def lay_over(new: Path, folder: Path) -> None:
    """Puts the files of a staged release over a project's folder: volumes stay, files of the old release go.

    Raises OSError where a folder on the way is a link: containers may write in `folder`.
    """
    record = json.loads((new / RECORD).read_text())
    old = json.loads((folder / RECORD).read_text())["files"] if (folder / RECORD).exists() else {}
    with beneath.opened(new) as source, beneath.opened(folder) as target:
        for gone in old.keys() - record["files"].keys():
            beneath.unlink(target, gone)
        for entry in beneath.walk(source, (), lambda name, why: None):
            if not stat.S_ISREG(entry.status.st_mode):
                continue
            mode = 0o600 if entry.name == env_file.LIVE else stat.S_IMODE(entry.status.st_mode)
            with beneath.reading(entry.handle) as file, beneath.new_file(target, entry.name, mode) as laid:
                shutil.copyfileobj(file, laid)
                laid.flush()
                os.utime(laid.fileno(), ns=(entry.status.st_atime_ns, entry.status.st_mtime_ns))


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
            _require_none_cut()
            backup.require_nothing_aside(old.folder)
            return _switch(old, new)
    except DifyError as error:
        if OPEN.exists():
            raise  # the record is another upgrade's
        log = _UpgradeLog(old, new)
        log.keep(state=UpgradeState.RESTORED, why="nothing was stopped: %s" % error)
        return log.upgrade


def _switch(old: Stack, new: Stack) -> Upgrade:
    log, outage = _UpgradeLog(old, new), _Outage(old)
    OPEN.touch()
    os.sync()
    archive: Path | None = None
    try:
        log.note("stop what writes")
        old.compose("stop", *[name for name in WRITERS if name in old.declared_hashes()])
        log.note("back up what there is")
        archive = Path(backup.make(old, "before %s" % new.version(), stopped=True).archive)
        log.note("put the new release in place", archive=str(archive))
        lay_over(new.folder, old.folder)
        os.sync()
        log.note("start it, its migrations first")
        lifecycle.start(old, old.ready_s)
        log.note("it answers")
        log.keep(state=UpgradeState.DONE, outage=outage.ended())
        beneath.discard_tree(new.folder)
    except (DifyError, OSError) as error:
        _undo(old, archive, log, outage, str(error))
    OPEN.unlink(missing_ok=True)
    return log.upgrade


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
