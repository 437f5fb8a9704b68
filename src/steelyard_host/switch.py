"""Moves a service to another version on trial, confirms it, or undoes it: what `steelyard rollout` asks of a host.

What the host comes up with is the version that /etc names, until `confirm`. A trial is a mount over the engine's constant path
(`reload`) or a drop-in in /run (`swap`, `surge` with a second engine beside it, `sleep-swap` with the first one asleep); all are gone
after a reboot. It is carried out in a unit of its own, so it comes to its end whatever becomes of the controller, and a timer undoes
what nobody confirmed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from steelyard_host import asleep, control, engines, front, handover, lazy, quality, ready, starts, status, store, surge, trial
from steelyard_host.store import StoreError

HELPER = ("/usr/bin/python3", "-I", "/usr/lib/steelyard/steelyard-host.pyz")


def state(root: Path, project: str, service: str) -> dict[str, Any]:
    """What the service serves, what it would come up with, the last switch, and what a switch would cost.

    `serves` is None where it does not run. Raises StoreError.
    """
    pid = status.unit_properties(engines.unit(service)).get("MainPID", "0")
    start = next(reversed(starts.read(service)), None)
    return {
        "serves": _serves(service, pid, root / project),
        "committed": trial.committed(service),
        "previous": store.pointed(root, project, "previous"),
        "switch": trial.record(service),
        "no_surge": surge.spare(service),
        "no_sleep": asleep.why_not(service),
        "start_s": start["seconds"] if start else None,
        "weights_s": next((entry["seconds"] for entry in start["phases"] if entry["phase"] == "weights"), None)
        if start
        else None,
    }


def with_trials(found: dict[str, Any]) -> dict[str, Any]:
    """What `status.read` gives, with the `trial` of each service: the version's folder, its state, and its run; None where none is open."""
    for entry in found["services"]:
        now = trial.record(entry["name"])
        open_now = now is not None and now["state"] in trial.OPEN
        entry["trial"] = {key: now[key] for key in ("folder", "state", "run")} if now is not None and open_now else None
    return found


def _serves(service: str, pid: str, project: Path) -> str | None:
    """Folder of the version that is mounted for the engine, by identity: the kernel names mounts from their file system's root."""
    if pid == "0":
        return None
    seen = Path("/proc/%s/root/run/steelyard/%s/model" % (pid, service))
    for folder in project.iterdir() if project.is_dir() else ():
        try:
            if not folder.is_symlink() and folder.samefile(seen):
                return str(folder)
        except OSError:
            continue
    mounted = status.mounted_version(pid, service)
    return "another folder: %s" % mounted if mounted else None


def attempt(given: dict[str, Any]) -> dict[str, Any]:
    """Try a version: `service`, `folder`, `strategy`, `run`, `ready_s`, `undo_s`, `prompts`. The record, when the trial has ended.

    Its state is `serving` (to be confirmed within `undo_s`) or `undone`, with the reason. Raises StoreError: nothing was begun.
    """
    service = given["service"]
    now = trial.record(service)
    if now is not None and now["state"] in trial.OPEN and now["run"] != given["run"]:
        raise StoreError("another rollout is at %s: %s to %s, %s" % (service, now["run"], now["folder"], now["state"]))
    if now is not None and now["run"] == given["run"] and now["state"] in ("serving", "confirmed"):
        return now  # taken up again
    unit = "steelyard-switch-%s" % service
    if now is not None and now["state"] == "trying" and _active(unit):
        raise StoreError("this rollout is at it already")  # its record will say
    if not Path(given["folder"]).is_dir():
        raise StoreError("%s is not published here" % given["folder"])
    before = trial.committed(service)
    trial.keep(service, dict(given), before=before, state="trying", why="", boot=trial.boot(), at=time.time())
    # not `--wait`: it may miss the end of a unit in which systemd is reloaded
    handover.run("systemd-run", "--quiet", "--collect", "--unit=" + unit, *HELPER, "switch-carry-out", service)
    return _ended(service, unit)


def _ended(service: str, unit: str) -> dict[str, Any]:
    """The record, once the trial has come to an end. Raises StoreError where its unit is gone before that."""
    while True:
        alive = _active(unit)
        found = trial.record(service)
        if found is not None and found["state"] not in ("trying", "undoing"):
            return found
        if not alive:
            raise StoreError("the switch did not come to its end: `journalctl -u %s`" % unit)
        time.sleep(0.1)


def _active(unit: str) -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", unit]).returncode == 0


def carry_out(service: str) -> int:
    """The trial itself, in its own unit. 0 whatever came of it: the record says."""
    found = trial.record(service)
    assert found is not None
    began = time.monotonic()
    try:
        if found["strategy"] == "reload" and engines.lazy(service) and not _active(engines.unit(service)):
            trial.keep(service, found, strategy="swap")  # a lazy one that sleeps has no weights in place
        starts_due = 2 if found["strategy"] == "surge" else 1
        _arm(service, found["undo_s"] + starts_due * found["ready_s"])
        {"reload": _reload, "swap": _swap, "surge": _surge, "sleep-swap": _sleep_swap}[found["strategy"]](service, found)
        wrong = quality.first_wrong(service, found["prompts"])
        if wrong is not None:
            raise StoreError(wrong)
    except (StoreError, OSError, subprocess.SubprocessError) as error:
        _undo(service, found, str(error))
        return 0
    front.back(service)
    _arm(service, found["undo_s"])  # from now on only a word is missing
    trial.keep(service, found, state="serving", seconds=round(time.monotonic() - began, 3))
    return 0


def _out(service: str, found: dict[str, Any]) -> None:
    """Nobody new, and whoever is there may finish."""
    front.out(service, mark=True)
    took = front.drained(service, found["drain_s"])
    if took is None:
        raise StoreError("requests were still running after %d s" % found["drain_s"])
    found["drained_s"] = round(took, 3)


def _reload(service: str, found: dict[str, Any]) -> None:
    """Without prompts to ask first, requests wait in the engine itself, which is quicker than at the gateway."""
    if found["prompts"]:
        _out(service, found)
    _bind(service, found["folder"])
    began = time.monotonic()
    control.reload_weights(service)
    found["gap_s"] = round(time.monotonic() - began, 3)
    _token(service)


def _bind(service: str, folder: str) -> None:
    handover.run(
        "systemctl", "bind", "--read-only", "--mkdir", engines.unit(service), folder, "/run/steelyard/%s/model" % service
    )


def _token(service: str) -> None:
    gives, why = ready.one_token(control.socket_of(service), service)
    if not gives:
        raise StoreError("it gives no token: %s" % why)


def _surge(service: str, found: dict[str, Any]) -> None:
    """A second engine with the version has the requests while the service's own is started anew with it: nobody waits."""
    surge.start(service, found["folder"], found["ready_s"])
    wrong = quality.first_wrong(service, found["prompts"], surge.twin(service))
    if wrong is not None:
        raise StoreError(wrong)
    found["drained_s"] = round(surge.shift(service, True, found["drain_s"]), 3)
    trial.write(service, found)
    _restart(service, found["ready_s"], found["drain_s"])
    surge.shift(service, False, found["drain_s"])
    surge.stop(service)
    found["gap_s"] = 0.0


def _swap(service: str, found: dict[str, Any]) -> None:
    _out(service, found)
    trial.write(service, found)
    began = time.monotonic()
    _restart(service, found["ready_s"], found["drain_s"])
    found["gap_s"] = round(time.monotonic() - began, 3)


def _sleep_swap(service: str, found: dict[str, Any]) -> None:
    """As `swap`, but that the engine which served is kept, asleep, until the new one is confirmed."""
    _out(service, found)
    began = time.monotonic()
    asleep.lie_down(service)
    trial.write(service, found)
    _restart(service, found["ready_s"], found["drain_s"])
    found["gap_s"] = round(time.monotonic() - began, 3)


def _restart(service: str, seconds: float, drain_s: float) -> None:
    """Until it gives a token; the unit's own limits may be longer than `seconds`. Raises StoreError with the engine's last word."""
    unit = engines.unit(service)
    handover.run("systemctl", "daemon-reload")
    subprocess.run(["systemctl", "reset-failed", unit], stderr=subprocess.DEVNULL)
    if engines.lazy(service):
        asleep = not _active(unit)
        if asleep and lazy.make_room(service, drain_s, seconds) != 0:
            raise StoreError("it has no room beside the others of this host")
        lazy.keep_up(service, seconds)
        if asleep:
            if not _active(unit):
                raise StoreError("it does not start; %s" % _last_word(unit))
            return
    try:
        done = subprocess.run(
            ["systemctl", "restart", unit], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        # one that hangs would not end by itself either
        subprocess.run(["systemctl", "kill", "--kill-who=all", "--signal=KILL", unit], stderr=subprocess.DEVNULL)
        raise StoreError("it gave no token within %d s; %s" % (seconds, _last_word(unit))) from error
    if done.returncode != 0 or not _active(unit):  # a condition that does not hold is no failure to systemd
        raise StoreError("it does not start; %s" % _last_word(unit))


def _last_word(unit: str) -> str:
    """The last line of its log that says what is wrong."""
    words = ["journalctl", "--no-pager", "-o", "cat", "-n", "200", "-u", unit]
    lines = subprocess.run(words, stdout=subprocess.PIPE, text=True, errors="replace").stdout.splitlines()
    wrong = [line.strip() for line in lines if "Error" in line or "exited" in line or "failed" in line.lower()]
    return "its log: %s" % (wrong[-1][-200:] if wrong else "`journalctl -u %s`" % unit)


def confirm(root: Path, project: str, service: str, run: str) -> dict[str, Any]:
    """The version on trial is what the host comes up with from now on. Raises StoreError: it is not on trial, or no longer."""
    found = trial.record(service)
    if found is not None and found["run"] == run and found["state"] == "confirmed":
        return found
    if found is None or found["run"] != run or found["state"] != "serving":
        raise StoreError("%s is not on trial: %s" % (service, found["state"] + " " + found["why"] if found else "never was"))
    path = trial.drop_in(service)
    text, was = path.read_text().replace(found["before"], found["folder"]), path.stat()
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(was.st_mode & 0o7777)
    os.replace(new, path)  # this is the moment
    store.switch(root, project, Path(found["folder"]).name)
    _close(service, found)
    return found


def _close(service: str, found: dict[str, Any]) -> None:
    """What the host comes up with is what was on trial."""
    _disarm(service)
    trial.path_of(service).unlink(missing_ok=True)
    handover.run("systemctl", "daemon-reload")
    front.back(service)
    asleep.let_go(service)
    lazy.let_go(service)
    trial.keep(service, found, state="confirmed")


def undo(service: str, run: str, why: str) -> dict[str, Any]:
    """Back to the version that the host comes up with; nothing to do where no trial is open. Raises StoreError: it serves nothing."""
    found = trial.record(service)
    if found is None or found["state"] not in trial.OPEN or (run and found["run"] != run):
        return found or {"state": "none"}
    subprocess.run(["systemctl", "stop", "steelyard-switch-%s.service" % service], stderr=subprocess.DEVNULL)
    if trial.committed(service) == found["folder"]:  # an apply has declared it meanwhile: that is a confirmation
        _close(service, found)
        return found
    _undo(service, found, why)
    return found


def _undo(service: str, found: dict[str, Any], why: str) -> None:
    trial.keep(service, found, state="undoing", why=why)
    touched = found["strategy"] != "surge" or trial.path_of(service).exists()
    trial.path_of(service).unlink(missing_ok=True)
    back_in_place = {"reload": _reloaded_back, "sleep-swap": _woken}.get(found["strategy"])
    if touched and (back_in_place is None or not back_in_place(service, found)):
        front.unmark(service)  # should it take longer than we wait, its own start lets requests in
        _started_back(service, found)
    if found["strategy"] == "surge":
        front.route(service, service, surge.twin(service))
        front.drained(surge.twin(service), found["drain_s"])
        surge.stop(service)
    front.back(service)
    lazy.let_go(service)
    _disarm(service)
    trial.keep(service, found, state="undone", why=why)


def _started_back(service: str, found: dict[str, Any]) -> None:
    """It started with this version before, so what stops it once may be over: a second try comes before giving up. Raises StoreError."""
    try:
        _restart(service, found["ready_s"], found["drain_s"])
    except StoreError as error:
        print("%s is started once more: %s" % (service, error), flush=True)
        _restart(service, found["ready_s"], found["drain_s"])


def _reloaded_back(service: str, found: dict[str, Any]) -> bool:
    """False where the engine has to be started anew: its unit comes back with the committed version."""
    try:
        _bind(service, found["before"])
        control.reload_weights(service)
        _token(service)
    except StoreError:
        front.out(service, mark=True)
        return False
    return True


def _woken(service: str, found: dict[str, Any]) -> bool:
    """False where the engine that slept is lost, and the unit has to be started anew."""
    front.out(service, mark=True)
    front.drained(service, found["drain_s"])
    try:
        asleep.wake(service)
    except (StoreError, OSError) as error:
        print("%s has to be started anew: %s" % (service, error), flush=True)
        asleep.give_up(service)
        return False
    return True


def _arm(service: str, seconds: float) -> None:
    """Undo in so many seconds, by a clock that nobody sets."""
    _disarm(service)
    unit = "--unit=steelyard-undo-%s" % service
    handover.run(
        "systemd-run",
        "--quiet",
        "--collect",
        unit,
        "--on-active=%d" % seconds,
        "--timer-property=AccuracySec=100ms",
        *HELPER,
        "switch-undo",
        service,
    )


def _disarm(service: str) -> None:
    """The timer, not the undo itself where it runs already: that one calls this."""
    subprocess.run(["systemctl", "stop", "steelyard-undo-%s.timer" % service], stderr=subprocess.DEVNULL)


def read_spec() -> dict[str, Any]:
    """What to try, from standard input. Raises StoreError."""
    try:
        return dict(json.load(sys.stdin))
    except ValueError as error:
        raise StoreError("the switch to try cannot be read: %s" % error) from error
