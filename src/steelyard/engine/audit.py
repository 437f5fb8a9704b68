"""One line for every change: on the host, written with the change itself, and on the controller.

The host's line is part of the command that goes down the shell, so it is there even where the controller is killed in
between. Lines are JSON and masked; nothing secret is ever in them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from pyinfra.api.command import PyinfraCommand, StringCommand

from steelyard.dirs import state_folder
from steelyard.engine.run_owner import RunOwner, now

from .plan import shown_command

LONGEST = 300  # characters of a command


def controllers_log() -> Path:
    """Return the path of the controller's own audit log."""
    return state_folder() / "audit.log"


class Audit:
    """Audit lines of one run. `mask` hides the secrets that the inventory knows."""

    def __init__(self, owner: RunOwner, mask: Callable[[str], str]) -> None:
        self.owner, self.mask = owner, mask

    def hosts_line(self, title: str, command: StringCommand) -> str:
        """Return the JSON line that the host writes, without its closing brace: the host adds when and how it ended."""
        entry = {**self._head(), "task": title, "change": self._text(shown_command(command).text)}
        return json.dumps(entry)[:-1]

    def note(self, host: str, title: str, commands: Sequence[PyinfraCommand]) -> None:
        """Append a line for each command to the controller's log."""
        lines = []
        for command in commands:
            shown = shown_command(command)
            entry = {
                **self._head(),
                "host": host,
                "task": title,
                "subject": shown.subject,
                "change": self._text(shown.text),
            }
            lines.append(self.mask(json.dumps({**entry, "at": now()})) + "\n")
        path = controllers_log()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        with path.open("a") as log:
            log.write("".join(lines))

    def _head(self) -> dict[str, str]:
        return {"run": self.owner.run, "who": self.owner.user, "from": self.owner.host, "doing": self.owner.command}

    def _text(self, text: str) -> str:
        masked = self.mask(text)
        return masked if len(masked) <= LONGEST else masked[: LONGEST - 3] + "..."
