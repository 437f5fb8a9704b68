"""Known host keys as ssh reads them: several files, hashed names, patterns, aliases, revoked keys, and which kinds of
key to ask a host for first.

paramiko's own reader knows neither patterns nor marks, and asks for the first recorded kind alone: where that is an RSA
key it asks for SHA-1 signatures, gets a key of another kind from today's servers, and calls that an attack.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from paramiko import PKey
from paramiko.hostkeys import HostKeyEntry

RSA = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")  # signatures that one key can make
REVOKED, AUTHORITY = "@revoked", "@cert-authority"


class KnownLine(NamedTuple):
    """A line of a known hosts file. `number` tells its place."""

    number: int
    mark: str
    patterns: str
    key: str


class KnownHostsFile:
    """The lines of one file, those of a plain name by that name. What is appended is read alone: with 5,000 hosts that
    are met for the first time each of them appends a line.
    """

    def __init__(self) -> None:
        self._content, self._count = b"", 0
        self._by_name: dict[str, list[KnownLine]] = {}
        self._others: list[KnownLine] = []  # hashed names and patterns: tried one by one

    def read(self, content: bytes) -> None:
        if not content.startswith(self._content) or not self._content.endswith(b"\n"):
            self._count, self._by_name, self._others = 0, {}, []
            self._content = b""
        added = content[len(self._content) :]
        self._content = content
        for mark, patterns, key in _fields(added.decode(errors="replace")):
            self._count += 1
            line = KnownLine(self._count, mark, patterns, key)
            if any(letter in patterns for letter in "*?!|"):
                self._others.append(line)
                continue
            for name in set(patterns.lower().split(",")):
                self._by_name.setdefault(name, []).append(line)

    def lines(self, name: str) -> list[KnownLine]:
        """Return the lines that mean this name, in their order."""
        matching = [line for line in self._others if _names(line.patterns, name)]
        return sorted([*self._by_name.get(name, ()), *matching])


class KnownKeys:
    """Keys recorded for one host, in the shape in which paramiko's client looks for them."""

    def __init__(self, name: str, files: Iterable[str], port: int = 22) -> None:
        self.keys_by_kind: dict[str, list[PKey]] = {}
        self.revoked: list[PKey] = []
        known = name.lower() if port == 22 else f"[{name.lower()}]:{port}"
        for file in files:
            for line in _file(file).lines(known):
                entry = None if line.mark == AUTHORITY else _entry(line.key)
                if entry is None:
                    continue
                if line.mark == REVOKED:
                    self.revoked.append(entry)
                else:
                    self.keys_by_kind.setdefault(entry.get_name(), []).append(entry)

    def __bool__(self) -> bool:
        return bool(self.keys_by_kind)

    def algorithms(self) -> list[str]:
        """Kinds of signatures by which the host can show a recorded key, the best first."""
        kinds: list[str] = []
        for kind in self.keys_by_kind:
            if any(key.get_name() == kind for key in self.revoked):
                continue  # ssh asks for another kind before one of which a key is revoked
            kinds += RSA if kind == "ssh-rsa" else (kind,)
        return kinds

    def has(self, key: PKey) -> bool:
        return any(known == key for known in self.keys_by_kind.get(key.get_name(), ()))

    def is_revoked(self, key: PKey) -> bool:
        return any(known == key for known in self.revoked)


FILES: dict[str, tuple[str, KnownHostsFile]] = {}  # with what the file system said of each when it was read


def _file(path: str) -> KnownHostsFile:
    """The file as it is now; one that is not there has no lines."""
    try:
        status = Path(path).stat()
        stamp = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        noted, file = FILES.get(path, ("", KnownHostsFile()))
        if noted != stamp:
            file.read(Path(path).read_bytes())
            FILES[path] = stamp, file
        return file
    except OSError:
        return KnownHostsFile()


def _fields(text: str) -> Iterator[tuple[str, str, str]]:
    """Mark, names and key of each line."""
    for line in text.splitlines():
        mark, *rest = line.split() or ["#"]
        if mark.startswith("#"):
            continue
        if not mark.startswith("@"):
            mark, rest = "", [mark, *rest]
        if rest:
            yield mark, rest[0], " ".join(rest[1:])


def _names(patterns: str, name: str) -> bool:
    """Whether the first field of a line means this name: a hash of it, or patterns of which none says no."""
    if patterns.startswith("|1|"):
        salt, _, digest = patterns[3:].partition("|")
        try:
            made = hmac.digest(base64.b64decode(salt), name.encode(), "sha1")
            return hmac.compare_digest(base64.b64decode(digest), made)
        except ValueError:
            return False
    every = patterns.lower().split(",")
    if any(pattern.startswith("!") and _matches(pattern[1:], name) for pattern in every):
        return False
    return any(_matches(pattern, name) for pattern in every)


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern.replace("[", "[[]"))  # a bracket is no pattern of ssh


def _entry(rest: str) -> PKey | None:
    try:
        entry = HostKeyEntry.from_line(f"x {rest}")
    except Exception:  # a line that cannot be read hides no other; paramiko raises at will here
        return None
    return None if entry is None else entry.key


def line_of(name: str, port: int, key: PKey) -> str:
    """The line that records a key."""
    known = name if port == 22 else f"[{name}]:{port}"
    return f"{known} {key.get_name()} {key.get_base64()}\n"
