"""A block that may read and compute, and nothing else: it writes nothing, starts nothing, calls nobody, says no word.

Python itself tells of each such act before it happens (audit events), whatever library it goes through; here it is
refused with an OSError. It holds for one greenlet; the others go on as ever. Our own caches and compiled modules may be
written: they are the same whoever writes them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gevent import getcurrent

from steelyard.dirs import cache_folder

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ON_PATHS = {
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.removexattr",
    "os.rename",
    "os.rmdir",
    "os.setxattr",
    "os.symlink",
    "os.truncate",
    "os.utime",
}
REFUSED = ON_PATHS | {
    "ftplib.connect",
    "http.client.connect",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.kill",
    "os.killpg",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pty.spawn",
    "smtplib.connect",
    "socket.bind",
    "socket.connect",
    "socket.sendmsg",
    "socket.sendto",
    "sqlite3.connect",
    "subprocess.Popen",
    "syslog.syslog",
    "urllib.Request",
}


class NotNow(OSError):
    """An act that a block of this kind may not do."""


class _Watch:
    """Greenlets that are in such a block; the hook that refuses, which Python keeps for good, is set at the first."""

    def __init__(self) -> None:
        self.greenlets: set[object] = set()
        self.is_set = False
        self.cache = ""

    def begin(self) -> None:
        self.cache = str(cache_folder())
        self.greenlets.add(getcurrent())
        if not self.is_set:
            self.is_set = True
            sys.addaudithook(self.see)

    def end(self) -> bool:
        """Return whether the greenlet was in one."""
        was = getcurrent() in self.greenlets
        self.greenlets.discard(getcurrent())
        return was

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.greenlets or (event != "open" and event not in REFUSED) or getcurrent() not in self.greenlets:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITES):
            return
        if (event == "open" or event in ON_PATHS) and self._is_ours(arguments[0]):
            return
        raise NotNow(f"{event} {arguments[:1]}")

    def _is_ours(self, path: object) -> bool:
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        return text.startswith(self.cache) or "__pycache__" in text or text == os.devnull


_WATCH = _Watch()


class _Muted:
    """A stream that swallows what greenlets in such a block write, and passes on the rest."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return len(text) if getcurrent() in _WATCH.greenlets else int(self.stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def untouched() -> Iterator[None]:
    """A block of the current greenlet. What it must not do raises NotNow, before it is done."""
    _WATCH.begin()
    if not isinstance(sys.stdout, _Muted):
        sys.stdout, sys.stderr = _Muted(sys.stdout), _Muted(sys.stderr)
    try:
        yield
    finally:
        _WATCH.end()
        if not _WATCH.greenlets and isinstance(sys.stdout, _Muted) and isinstance(sys.stderr, _Muted):
            sys.stdout, sys.stderr = sys.stdout.stream, sys.stderr.stream


@contextmanager
def allowed() -> Iterator[None]:
    """A part of such a block that is for everybody: what is worked out once, and kept, has to be worked out right."""
    was = _WATCH.end()
    try:
        yield
    finally:
        if was:
            _WATCH.begin()
