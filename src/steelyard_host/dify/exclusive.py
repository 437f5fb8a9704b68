"""One work on Dify at a time: a backup, proof, restore, rehearsal, upgrade, or the way back from one.

The lock is the kernel's, on a file that root alone may open, so it ends with the process that holds it, however that
ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from steelyard_host.dify import job_progress
from steelyard_host.dify.stack import DifyError

LOCK = "lock"


@contextmanager
def held(work: str, wait: bool = False) -> Iterator[None]:
    """Keeps every other work away meanwhile. Raises DifyError with the one that goes on; `wait`: waits for its end."""
    job_progress.FOLDER.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(job_progress.FOLDER / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            other = file.read() or "its name is not known"
            since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(os.fstat(handle).st_mtime))
            raise DifyError(
                "other work on Dify goes on here: %s, since %s; try again when it has ended" % (other, since)
            ) from error
        file.truncate()
        file.write(work)
        file.flush()
        yield
