"""Labs of one machine come and go one after another: they share slots, firewall rules, two sysctls, and what is made
once for all.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path("/run/steelyard-lab.lock")


@contextmanager
def turn(say: Callable[[str], None]) -> Iterator[None]:
    """Waits for whoever is at it; the lock goes with the process, so a killed one blocks nobody."""
    with LOCK.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another lab comes or goes on this machine: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
