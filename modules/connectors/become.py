"""The ways in which a login's user becomes another one: with sudo, su or doas, as the host's variables say.

pyinfra writes each command with its own `sudo -H -n [-u USER] sh -c`; that text is read as "as root" or "as USER", and
a shell of that user is opened once, in the host's way.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any, Protocol

SUDO_FLAGS = "-H"
OF_USER = re.compile(r"-u (\S+)")
SU_PROMPT = re.compile(rb"assword: ?$")  # of util-linux and of shadow, in English


class ReadsData(Protocol):
    """Data of a host, by name: pyinfra's own object, or a plain dictionary."""

    def get(self, key: str, /) -> Any: ...


@dataclass(frozen=True)
class Become:
    """A method with its program, its options, and the folder that it is started in."""

    method: str = "sudo"
    exe: str = ""
    flags: str | None = None  # None: the usual ones
    chdir: str = ""

    def command(self, login: str, program: str, prompt: str | None = None) -> str:
        """Return what a login's own shell, of whatever kind, has to be told so that `program` runs as `login` says.

        An empty login is the user itself. `prompt`: sudo is to ask for a password with these words on standard input.
        """
        if not login:
            return f"exec {program}"
        named = OF_USER.search(login)
        user = named[1] if named else ""
        exe = self.exe or self.method
        if self.method == "su":
            # in English, so that the prompt is known; `env`, because shells differ in how they set a variable
            return f"exec env LC_ALL=C {exe} {self.flags or ''} {user or 'root'} -c {shlex.quote(f'exec {program}')}"
        if self.method == "doas":
            return f"exec {exe} {self.flags or ''} -n -u {user or 'root'} {program}"
        asked = "-n" if prompt is None else f"-S -p {shlex.quote(prompt)}"
        folder = f"cd {shlex.quote(self.chdir)} && " if self.chdir else ""
        return f"{folder}exec {exe} {self._sudo_flags()} {asked} {f'-u {user} ' if user else ''}{program}"

    def _sudo_flags(self) -> str:
        """sudo's options, less those on asking: whether it may ask is decided here."""
        if self.flags is None:
            return SUDO_FLAGS
        kept = []
        for word in shlex.split(self.flags):
            if word in ("--non-interactive", "--stdin"):
                continue
            if re.fullmatch(r"-\w+", word):
                word = "-" + re.sub("[nS]", "", word[1:])
            if word != "-":
                kept.append(word)
        return shlex.join(kept)

    def asks(self, said: bytes, prompt: str) -> bool:
        """Whether what was said on standard error ends with a question for the password."""
        return SU_PROMPT.search(said) is not None if self.method == "su" else prompt.encode() in said

    def refuses(self, said: str) -> bool:
        """Whether the last line on standard error is the method's own."""
        return self.words_of(said).startswith(f"{self.method}:") or said.startswith("sudo:")

    def words_of(self, said: str) -> str:
        """The line without su's question, which has no line of its own."""
        return said.removeprefix("Password: ") if self.method == "su" else said


def become_of(data: ReadsData) -> Become:
    """A host's way, by its data."""
    return Become(
        data.get("steelyard_become_method") or "sudo",
        data.get("steelyard_become_exe") or "",
        data.get("steelyard_become_flags"),
        data.get("steelyard_become_chdir") or "",
    )
