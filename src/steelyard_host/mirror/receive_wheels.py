"""Takes a set of wheels over standard input into the folder that the mirror serves; needs nothing but Python 3.9.

Frames come in as in relay.py: orders as JSON, and bytes. Lines of JSON go out. What arrives lies in `.incoming/` until
every wheel of the set is whole; then all of them take their places, what is not of the set goes, and the index is
written. So who reads the folder meanwhile sees the old set. A part that was cut off is gone on with; its content is
compared as a whole at the end.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

from steelyard_host.mirror import wheels
from steelyard_host.system import json_file
from steelyard_host.system.digest import sha256_file

FRAME = struct.Struct(">II")
ORDER = 0xFFFFFFFF
INCOMING = ".incoming"


class Receiver:
    """One set into one folder."""

    def __init__(self, folder: Path, orders: BinaryIO, answers: Any) -> None:
        self.folder, self._orders, self._answers = folder, orders, answers

    def _tell(self, **what: Any) -> None:
        self._answers.write(json.dumps(what) + "\n")
        self._answers.flush()

    def _frame(self) -> tuple[int, bytes] | None:
        head = self._exactly(FRAME.size)
        if head is None:
            return None
        number, length = FRAME.unpack(head)
        body = self._exactly(length)
        return None if body is None else (number, body)

    def _exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            piece = self._orders.read(count - len(data))
            if not piece:
                return None
            data += piece
        return data

    def run(self) -> int:
        """Receives until the set is in place, or the line ends: 1 then, and what came stays for the next time."""
        try:
            for part in (self.folder, self.folder / "files", self.folder / INCOMING):
                part.mkdir(parents=True, exist_ok=True)
                part.chmod(0o755)
            while True:
                frame = self._frame()
                if frame is None:
                    return 1
                order = json.loads(frame[1])
                if "wanted" in order:
                    self._tell(have=self._have(order["wanted"]))
                elif "finish" in order:
                    self._tell(lock=self._finish(order["finish"]))
                    return 0
                else:
                    self._take(str(order["file"]), int(order["size"]), str(order["sha256"]))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            self._tell(error="%s: %s" % (reason, error.filename or self.folder))
            return 1

    def _have(self, wanted: dict[str, str]) -> dict[str, int]:
        """Of each file the bytes that need not be sent: -1 where it is whole."""
        known = wheels.record(self.folder)
        have = {}
        for name, sha256 in wanted.items():
            path = self._place(name)
            part = self.folder / INCOMING / (name + ".part")
            if path.is_file():
                stat = [path.stat().st_size, path.stat().st_mtime_ns]
                live = known.hashes.get(name) if known.files.get(name) == stat else sha256_file(path)
                if live == sha256:
                    have[name] = -1
                    continue
            arrived = self.folder / INCOMING / name
            if arrived.is_file() and sha256_file(arrived) == sha256:
                have[name] = -1
            else:
                have[name] = part.stat().st_size if part.is_file() else 0
        return have

    def _place(self, name: str) -> Path:
        """Raises OSError for a name that is no file's."""
        if "/" in name or name.startswith(".") or not name.endswith(".whl"):
            raise OSError(errno.EINVAL, "no name of a wheel", name)
        return self.folder / "files" / name

    def _take(self, name: str, size: int, sha256: str) -> None:
        self._place(name)
        part = self.folder / INCOMING / (name + ".part")
        done = part.stat().st_size if part.is_file() else 0
        if done > size:
            part.unlink()
            done = 0
        self._tell(file=name, begin=done)
        with part.open("ab") as out:
            while done < size:
                frame = self._frame()
                if frame is None:
                    raise OSError(errno.ECONNRESET, "the line ended", name)
                out.write(frame[1])
                done += len(frame[1])
            out.flush()
            os.fsync(out.fileno())
        if sha256_file(part) != sha256:
            part.unlink()
            self._tell(file=name, altered=True)
            return
        part.rename(self.folder / INCOMING / name)
        self._tell(file=name, whole=True)

    def _finish(self, names: list[str]) -> str:
        """Everything takes its place; the lock's sha256."""
        for name in names:
            arrived = self.folder / INCOMING / name
            if arrived.is_file():
                arrived.chmod(0o644)
                os.replace(arrived, self._place(name))
        wanted = set(names)
        for path in (self.folder / "files").glob("*.whl"):
            if path.name not in wanted:
                path.unlink()
        for left in (self.folder / INCOMING).iterdir():
            left.unlink()
        (self.folder / INCOMING).rmdir()
        for changed in (self.folder / "files", self.folder):
            json_file.sync_folder(changed)
        wheels.index(self.folder)
        return hashlib.sha256((self.folder / wheels.LOCK).read_bytes()).hexdigest()


def main(words: list[str]) -> int:
    os.umask(0o022)
    return Receiver(Path(words[0]), sys.stdin.buffer, sys.stdout).run()
