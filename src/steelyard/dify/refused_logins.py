"""Passwords that Dify refused, remembered by this user's steelyard so that none is sent a second time.

Dify locks an account for a day after six wrong ones, for people too, and a pipeline sends its password with every run.
A record is by address and e-mail. It holds no password but a slow hash of it with a random key, which lies beside it:
what is compared is whether the declared one is still the same.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from steelyard.dirs import state_folder, write_private

TURN_S = 30.0  # how long another run's login is waited for; then this run goes on without its outcome
POLL_S = 0.05


class RefusedLogins:
    """The records in one folder. Where it cannot be read or written, there is none, and each run sends one try."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or state_folder() / "dify-logins"

    def refused_at(self, url: str, email: str, password: str) -> str | None:
        """The moment at which this very password was refused, as text; None where we know of none."""
        try:
            record = json.loads(self._path(url, email).read_bytes())
            mark, moment = str(record["mark"]), str(record["at"])
            key = bytes.fromhex(self._key_path.read_text())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return moment if hmac.compare_digest(mark, _mark(key, url, email, password)) else None

    def note(self, url: str, email: str, password: str) -> None:
        """Remember that a password was refused just now, in place of the one that was refused before."""
        moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        with suppress(OSError, ValueError):
            mark = _mark(self._key(), url, email, password)
            record = {"url": url, "email": email, "at": moment, "mark": mark}
            write_private(self._path(url, email), json.dumps(record).encode())

    def forget(self, url: str, email: str) -> None:
        """Forget what was refused: another password was taken, or this one is right by now."""
        with suppress(OSError):
            self._path(url, email).unlink(missing_ok=True)

    @contextmanager
    def turn(self, url: str, email: str) -> Iterator[None]:
        """One login of an account at a time on this machine: who comes second knows what became of the first."""
        file: Any = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self._path(url, email).with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            pass
        try:
            end = time.monotonic() + TURN_S
            while file is not None and not _locked(file) and time.monotonic() < end:
                time.sleep(POLL_S)
            yield
        finally:
            if file is not None:
                os.close(file)

    @property
    def _key_path(self) -> Path:
        return self._folder / "key"

    def _key(self) -> bytes:
        """The key of all records, made by whoever needs it first, and anew where it cannot be read. Raises OSError."""
        try:
            return bytes.fromhex(self._key_path.read_text())
        except FileNotFoundError:
            replaces = False
        except ValueError:
            replaces = True
        made = self._folder / f".key.{os.getpid()}.{secrets.token_hex(4)}"
        write_private(made, secrets.token_hex(32).encode())
        with suppress(FileExistsError):  # another run made one meanwhile
            if replaces:
                made.replace(self._key_path)
            else:
                os.link(made, self._key_path)
        made.unlink(missing_ok=True)
        return bytes.fromhex(self._key_path.read_text())

    def _path(self, url: str, email: str) -> Path:
        name = hashlib.sha256(json.dumps([url, email.lower()]).encode()).hexdigest()[:32]
        return self._folder / f"{name}.json"


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _mark(key: bytes, url: str, email: str, password: str) -> str:
    """What a password is compared by; slow, so that nobody tries many against a stolen folder."""
    salt = key + json.dumps([url, email.lower()]).encode()
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32).hex()
