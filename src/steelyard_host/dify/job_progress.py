"""A long work on Dify: how many bytes of how many, told while it goes on, and what came of it, for whoever asks later.

It runs in a unit of its own, so a connection that breaks neither ends it nor loses its answer.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from steelyard_host import paths
from steelyard_host.errors import HelperError
from steelyard_host.system import json_file, systemd
from steelyard_host.wire.codec import WireError, from_json, to_json
from steelyard_host.wire.dify import JobEnd, JobState, Progress

FOLDER = Path(paths.DIFY_JOBS)
DOING, ENDED = "doing.json", "ended.json"
TELL_S = 0.5

_last_told = 0.0


def tell(what: str, done: int, total: int) -> None:
    """Keeps how many bytes of one step are done, every so often and at its end. Work does not fail for it."""
    global _last_told
    if done < total and time.monotonic() - _last_told < TELL_S:
        return
    _last_told = time.monotonic()
    with suppress(OSError):
        _write(DOING, Progress(what, min(done, total), total))


@contextmanager
def watched(what: str, file: int, total: int) -> Iterator[None]:
    """Tells how far another program is that reads or writes the open file `file`."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(TELL_S):
            tell(what, os.lseek(file, 0, os.SEEK_CUR), total)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def carry_out(number: str, work: Callable[[], object]) -> int:
    """Keeps what the work answers, or why it does not. 0 whatever came of it."""
    clear()
    (FOLDER / ENDED).unlink(missing_ok=True)
    try:
        end = JobEnd(number, answer=to_json(work()))
    except HelperError as error:
        end = JobEnd(number, why=str(error))
    except OSError as error:
        end = JobEnd(number, why="%s: %s" % (error.filename, error.strerror) if error.filename else str(error))
    _write(ENDED, end)
    return 0


def state(unit: str) -> JobState:
    """The state of the job in `unit`, and what came of the last one."""
    active = systemd.is_active(unit)
    doing = current()
    try:
        ended = from_json(JobEnd, json_file.read(FOLDER / ENDED))  # read last: what has ended has been kept
    except WireError:
        ended = None
    return JobState(active, doing, ended)


def clear() -> None:
    """Begins a step of which no bytes are told."""
    (FOLDER / DOING).unlink(missing_ok=True)


def current() -> Progress | None:
    """Bytes of the step that goes on; None where none are told."""
    try:
        return from_json(Progress, json_file.read(FOLDER / DOING))
    except WireError:
        return None


def _write(name: str, document: Progress | JobEnd) -> None:
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    json_file.write_atomically(FOLDER / name, to_json(document), mode=0o600)
