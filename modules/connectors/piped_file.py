"""Files through a shell that is open anyway, as base64: for hosts without SFTP, or whose login files print into it."""

from __future__ import annotations

import base64
import shlex
from typing import Any

from pyinfra.api.util import get_file_io

from .frames import CommandAnswer
from .shell import Shell


def put_piped(shell: Shell, source: Any, remote: str, limit_s: int) -> None:
    """Write a file of the host. Raises OSError with the host's words."""
    with get_file_io(source) as file:
        content = base64.encodebytes(file.read()).decode()
    _checked(shell.run(shlex.quote(f"base64 -d >{shlex.quote(remote)}"), content, limit_s))


def get_piped(shell: Shell, remote: str, target: Any, limit_s: int) -> None:
    """Read a file of the host. Raises OSError with the host's words."""
    [answer] = shell.ask([shlex.quote(f"base64 <{shlex.quote(remote)}")], limit_s)
    _checked(answer)
    with get_file_io(target, "wb") as file:
        file.write(base64.b64decode("".join(answer.stdout)))


def _checked(answer: CommandAnswer) -> None:
    if answer.status != 0:
        raise OSError(answer.stderr[-1] if answer.stderr else f"exit {answer.status}")
