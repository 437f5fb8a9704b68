"""Runs a command that takes long, and tells the controller how far it is: lines on standard output that start with RS.

Said once a second and only where somebody listens (`STEELYARD_TELLS` in the environment, set by our connector's shell);
the command's own output, its exit status and what it does stay as they are. What is told is for people, and measured
from
outside: bytes of wheels that lie in pip's temporary folder, distributions that lie in the environment, lines of a
unit's log.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steelyard_host.engine import start_log
from steelyard_host.mirror.wheels import normalised
from steelyard_host.system.http_body import body_of
from steelyard_host.wire.progress import LISTENS, RS

EVERY_S = 1.0
LINK = re.compile(r'<a href="([^"#]+)#sha256=([0-9a-f]{64})"')
LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(.*?)(?=^\S|\Z)", re.M | re.S)  # hashes may stand on lines of their own
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")

Said = dict[str, Any]


def line(said: Said) -> str:
    """One line of the wire."""
    return RS + json.dumps(said, sort_keys=True)


def beside(words: list[str], look: Callable[[], Said | None], environment: dict[str, str] | None = None) -> int:
    """Run the command to its end; `look` is asked once a second, and what is new in its answer is told. The command's
    exit.
    """
    child = subprocess.Popen(words, env=environment)
    last: Said | None = None
    listens = bool(os.environ.get(LISTENS))
    while True:
        try:
            status = child.wait(EVERY_S if listens else None)
            if listens and last is not None:
                _tell({"what": ""})  # what comes next is not this command's
            return status if status >= 0 else 128 - status
        except subprocess.TimeoutExpired:
            pass
        try:
            said = look()
        except (OSError, ValueError):
            continue  # how far it is cannot be told; that is no reason to end it
        if said is not None and said != last:
            last = said
            listens = _tell(said)


def _tell(said: Said) -> bool:
    """Whether it was heard: a controller that went away is no reason to leave a command half done, and its folder
    removed under it.
    """
    try:
        print(line(said), flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # at exit, too, nothing is left to say
        return False
    return True


# Installing wheels


class Wheels:
    """Wheels on their way: first into pip's temporary folder, then as distributions into the environment."""

    def __init__(self, folder: str, temporary: str, count: int) -> None:
        self.folder, self.temporary, self.count = folder, temporary, count
        self.total = 0  # bytes; 0 until the index has told
        self._before, self._came = self._distributions(), 0

    def _distributions(self) -> set[str]:
        """With their versions: one that takes the place of what a new environment brings is another."""
        return {path.name for path in Path(self.folder).glob("lib/python*/site-packages/*.dist-info")}

    def look(self) -> Said:
        unpacked = len(self._distributions() - self._before)
        if unpacked > 0:
            return {"what": "unpacked", "done": min(unpacked, self.count), "total": self.count, "unit": "wheels"}
        self._came = max(self._came, size_below(self.temporary))
        return {"what": "downloaded", "done": self._came, "total": self.total, "unit": "bytes"}


def size_below(folder: str) -> int:
    """Bytes of all files below, each name once: pip copies a wheel that it has whole. One that goes meanwhile counts
    nothing.
    """
    sizes: dict[str, int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                sizes[name] = max(sizes.get(name, 0), Path(place, name).lstat().st_size)
            except OSError:
                pass
    return sum(sizes.values())


def wheels_size(index: str, lock: str) -> int:
    """Bytes of all wheels that `lock` names, by their index, over one connection. Raises OSError, HTTPException,
    LookupError, StopIteration.
    """
    base = urllib.parse.urlsplit(index)
    connection = http.client.HTTPConnection(base.hostname or "", base.port or 80, timeout=10)
    size = 0
    try:
        for name, hashes in LOCKED.findall(lock):
            page = urllib.parse.urljoin(index, normalised(name) + "/")
            links = {sha256: link for link, sha256 in LINK.findall(_asked(connection, "GET", page)[1])}
            wheel = next(links[digest] for digest in HASH.findall(hashes) if digest in links)
            size += int(_asked(connection, "HEAD", urllib.parse.urljoin(page, wheel))[0] or "x")
    finally:
        connection.close()
    return size


def _asked(connection: http.client.HTTPConnection, verb: str, url: str) -> tuple[str | None, str]:
    parts = urllib.parse.urlsplit(url)
    connection.request(verb, parts.path)
    answer = connection.getresponse()
    body = body_of(answer).decode(errors="replace")
    if answer.status != 200:
        raise LookupError(url)
    return answer.getheader("Content-Length"), body


def install(folder: str, index: str, lock: Path, words: list[str]) -> int:
    """pip's own command `words`, which installs the wheels of `lock` into the environment `folder`."""
    text = lock.read_text()
    temporary = tempfile.mkdtemp(prefix="steelyard-wheels-")
    wheels = Wheels(folder, temporary, len(LOCKED.findall(text)))

    def ask() -> None:
        try:
            wheels.total = wheels_size(index, text)
        except (OSError, http.client.HTTPException, LookupError, StopIteration, ValueError):
            pass  # what came is told all the same

    if os.environ.get(LISTENS):
        threading.Thread(target=ask, daemon=True).start()
    try:
        return beside(words, wheels.look, {**os.environ, "TMPDIR": temporary})
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


# Starting an engine


REACHED = {
    "import": "imported",
    "weights": "weights loaded",
    "compile": "compiled",
    "profile": "memory profiled",
    "capture": "graphs captured",
    "warm_up": "warmed up",
    "server": "listening",
}


def reached(log: str) -> str | None:
    """The last thing that a start has done, by the engine's log since it began; what comes next depends on its options.
    Pure.
    """
    done = [name for name, pattern in start_log.ENDS if pattern.search(log)]
    return REACHED[done[-1]] if done else "log has begun" if log.strip() else None


def start(unit: str, words: list[str]) -> int:
    """`words` starts `unit` and returns when it is ready; meanwhile its log says what it is at."""
    began = "@%d" % int(time.time())

    def look() -> Said | None:
        asked = ["journalctl", "--no-pager", "-q", "-o", "cat", "-u", unit, "--since", began]
        log = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        at = reached(log.stdout.decode(errors="replace"))
        return {"what": at} if at else None

    return beside(words, look)
