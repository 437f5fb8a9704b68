"""A long work on Dify: how many bytes of how many, told while it goes on, and what came of it, for whoever asks later.

It runs in a unit of its own, so a connection that breaks neither ends it nor loses its answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from . import dify_env
from .store import StoreError

FOLDER = Path("/run/steelyard-dify")
DOING, ENDED = "doing.json", "ended.json"
TELL_S = 0.5

_told = 0.0


def tell(what: str, done: int, total: int) -> None:
    """Bytes of one step; kept every so often, and when all are done. Work does not fail for it."""
    global _told
    if done < total and time.monotonic() - _told < TELL_S:
        return
    _told = time.monotonic()
    with suppress(OSError):
        _keep(DOING, {"what": what, "done": min(done, total), "total": total})


@contextmanager
def watched(what: str, file: int, total: int) -> Iterator[None]:
    """Of another program that reads or writes the open file `file`: how far it is."""
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


def carry_out(number: str, work: Callable[[], Any]) -> int:
    """Keep what the work answers, or why it does not. 0 whatever came of it."""
    clear()
    (FOLDER / ENDED).unlink(missing_ok=True)
    try:
        came: dict[str, Any] = {"answer": work()}
    except StoreError as error:
        came = {"why": str(error)}
    except OSError as error:
        came = {"why": "%s: %s" % (error.filename, error.strerror) if error.filename else str(error)}
    _keep(ENDED, {"number": number, **came})
    return 0


def now(unit: str) -> dict[str, Any]:
    """`active`: whether the unit still works; `doing` and `ended`: None where nothing was told."""
    active = subprocess.run(["systemctl", "is-active", "--quiet", unit]).returncode == 0
    return {"active": active, "doing": current(), "ended": _read(ENDED)}  # read last: what has ended has been kept


def clear() -> None:
    """A step of which no bytes are told."""
    (FOLDER / DOING).unlink(missing_ok=True)


def current() -> dict[str, Any] | None:
    return _read(DOING)


def _keep(name: str, what: dict[str, Any]) -> None:
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    dify_env.keep(FOLDER / name, json.dumps(what))


def _read(name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((FOLDER / name).read_text())
    except (OSError, ValueError):
        return None
    return found
