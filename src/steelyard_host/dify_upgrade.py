"""Dify from one release to the next, decided on its own host: rehearsed on a copy, backed up, switched, or put back.

The controller stages the new release in a folder beside the running one. From the moment the old one stops, the host
needs nobody: what fails is restored from the backup that was made after the stop, also after a power cut.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from . import dify_backup, dify_database, dify_doing, dify_env
from .dify_stack import RECORD, WRITERS, DifyError, Stack, declared

STATE = Path("/var/lib/steelyard/dify/upgrade.json")
OPEN = Path("/var/lib/steelyard/dify/upgrade-open")


def staged(stack: Stack) -> Stack:
    """The release beside the running one."""
    found = Stack(stack.config, stack.folder.with_name(stack.folder.name + ".next"))
    if found.version() is None:
        raise DifyError("no release is staged in %s" % found.folder)
    return found


def pull() -> dict[str, Any]:
    """Every image of the staged release, before anything stops."""
    begin = time.monotonic()
    new = staged(declared())
    new.compose("pull", "--quiet")
    return {"version": new.version(), "seconds": round(time.monotonic() - begin, 1)}


def rehearse() -> dict[str, Any]:
    """Restore the newest backup into a scratch project and migrate it with the staged release. Raises DifyError."""
    begin = time.monotonic()
    stack = declared()
    new = staged(stack)
    # of the release that runs: an older one's would rehearse another jump
    every = Path(stack.config["backups"]).glob("dify-%s-*.tar.gz" % stack.version())
    newest = max(every, key=lambda path: path.name, default=None)
    archive = newest or Path(dify_backup.make(stack, "for a rehearsal")["archive"])
    listed = dify_backup.verify(archive)
    folder = stack.folder.with_name(stack.folder.name + ".rehearsal")
    scratch = Stack(stack.config, folder, stack.project + "-rehearsal")
    outside = bool(stack.config.get("postgres"))
    names = {name: ("steelyard_rehearsal_" + name if outside else name) for name in listed["databases"]}
    work = folder.with_name(folder.name + "-archive")
    try:
        for left in (folder, work):
            shutil.rmtree(left, ignore_errors=True)
        dify_backup.extract(archive, work)
        os.rename(work / "dify", folder)
        lay_over(new.folder, folder)
        scratch.compose("up", "--detach", "--quiet-pull", "--wait", "redis")
        dify_database.start(scratch, scratch.ready_s)
        for name, to in names.items():
            dify_database.restore(scratch, to, work / "db" / (name + ".dump"))
        words = ["--rm", "--no-deps", "--quiet-pull", "-T", "-e", "MODE=migration", "-e", "MIGRATION_ENABLED=true"]
        if outside:
            words += ["-e", "DB_DATABASE=" + names[stack.config["databases"][0]]]
        scratch.compose("run", *words, "api")
    finally:
        if (folder / "docker-compose.yaml").exists():
            scratch.compose("down", "--remove-orphans", "--volumes", check=False)
            if outside:
                for to in names.values():
                    dify_database.query(stack, "postgres", 'DROP DATABASE IF EXISTS "%s" WITH (FORCE)' % to)
        for left in (folder, work):
            shutil.rmtree(left, ignore_errors=True)
    seconds = round(time.monotonic() - begin, 1)
    return {"archive": str(archive), "from": listed["version"], "to": new.version(), "seconds": seconds}


def lay_over(new: Path, folder: Path) -> None:
    """The files of a staged release over a project's folder: volumes stay, files of the old release go."""
    record = json.loads((new / RECORD).read_text())
    old = json.loads((folder / RECORD).read_text())["files"] if (folder / RECORD).exists() else {}
    for gone in old.keys() - record["files"].keys():
        (folder / gone).unlink(missing_ok=True)
    for source in sorted(new.rglob("*")):
        name = source.relative_to(new)
        if not source.is_file():
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(target.name + ".steelyard-new")
        shutil.copy2(source, fresh)
        os.replace(fresh, target)
    if (new / dify_env.LIVE).exists():
        (folder / dify_env.LIVE).chmod(0o600)


class _Steps:
    """What was done, when, kept on disk for whoever asks, and for the next boot."""

    def __init__(self, old: Stack, new: Stack) -> None:
        self.told: dict[str, Any] = {
            "from": old.version(),
            "to": new.version(),
            "begun": time.time(),
            "state": "running",
            "steps": [],
            "archive": None,
        }
        self._begin = time.monotonic()
        STATE.parent.mkdir(parents=True, exist_ok=True)

    def note(self, step: str, **more: Any) -> None:
        dify_doing.clear()
        self.told["steps"].append({"step": step, "at": round(time.monotonic() - self._begin, 1)})
        self.keep(**more)

    def keep(self, **more: Any) -> None:
        self.told.update(more)
        dify_env.keep(STATE, json.dumps(self.told))


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


def switch() -> dict[str, Any]:
    """Stop, back up, switch, check; or restore. In a unit of its own. Ends with `state`: done, restored or broken."""
    old = declared()
    new = staged(old)
    steps, outage = _Steps(old, new), _Outage(old)
    OPEN.touch()
    os.sync()
    archive: Path | None = None
    try:
        steps.note("stop what writes")
        old.compose("stop", *[name for name in WRITERS if name in old.wanted()])
        steps.note("back up what there is")
        archive = Path(dify_backup.make(old, "before %s" % new.version(), stopped=True)["archive"])
        steps.note("put the new release in place", archive=str(archive))
        lay_over(new.folder, old.folder)
        steps.note("start it, its migrations first")
        old.up(old.ready_s)
        steps.note("it answers")
        steps.keep(state="done", outage=outage.ended())
        shutil.rmtree(new.folder, ignore_errors=True)
    except (DifyError, OSError) as error:
        _undo(old, archive, steps, outage, str(error))
    OPEN.unlink(missing_ok=True)
    return steps.told


def _undo(stack: Stack, archive: Path | None, steps: _Steps, outage: _Outage, why: str) -> None:
    steps.note("go back", why=why)
    try:
        if archive is None:
            stack.up(stack.ready_s)  # nothing was changed yet
        else:
            stack.compose("down", "--remove-orphans", check=False)
            dify_backup.restore(archive)
        steps.note("the old release answers")
        steps.keep(state="restored", outage=outage.ended())
    except (DifyError, OSError) as error:
        steps.keep(state="broken", why="%s; and then: %s" % (why, error))


def recover() -> dict[str, Any]:
    """At boot, where an upgrade was cut: back to the backup, or, before there was one, what is there starts as it is."""
    told = progress()
    stack = declared()
    archive = told.get("archive")
    if archive and Path(archive).exists():
        aside = stack.folder.with_name(stack.folder.name + ".aside")
        if aside.exists():  # cut in the middle of going back: what was set aside is the failed release
            shutil.rmtree(aside)
        dify_backup.restore(Path(archive))
    else:
        stack.up(stack.ready_s)
    told.update({"state": "restored", "why": "the host went down in the middle"})
    dify_env.keep(STATE, json.dumps(told))
    OPEN.unlink(missing_ok=True)
    return told


def progress() -> dict[str, Any]:
    """Of the last upgrade of this host; `state` is none where there was none, `doing` what it is at now."""
    try:
        found: dict[str, Any] = json.loads(STATE.read_text())
    except (OSError, ValueError):
        return {"state": "none", "steps": []}
    return {**found, "doing": dify_doing.current() if found["state"] == "running" else None}
