"""Commands that say what they change: the plan shows subject, declared and live beside the command itself."""

from __future__ import annotations

import base64
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand


class Change(StringCommand):
    """A command with its reason. `subject` is the thing on the host; `declared` and `live` are safe to print."""

    def __init__(self, *bits: Any, subject: str, declared: str, live: str, **arguments: Any) -> None:
        super().__init__(*bits, **arguments)
        self.subject, self.declared, self.live = subject, declared, live


class FileWrite(Change):
    """Replaces a file by rename; the content goes over standard input, never through argv or a readable file.

    `secret` content is never shown. `check` is a command that must accept the new file (its path is appended)
    before it takes the old one's place.
    """

    def __init__(
        self,
        path: str,
        content: bytes,
        *,
        mode: str,
        user: str,
        group: str,
        live: str,
        before: bytes | None = None,
        secret: bool = False,
        check: str | None = None,
    ) -> None:
        new = QuoteString(f"{path}.steelyard-new")
        owner = QuoteString(f"{user}:{group}")
        parent = QuoteString(path.rsplit("/", 1)[0] or "/")
        bits: list[Any] = [
            "test -d",
            parent,
            "|| install -d -m 00755",
            parent,
            "|| exit 1; umask 077; base64 -d >",
            new,
            "&& chown",
            owner,
            new,
            "&& chmod",
            QuoteString(mode),
            new,
        ]
        if check:
            bits += ["&&", "{", check, new, "|| { rm -f", new, "; exit 1; }; }"]
        bits += ["&& mv -T", new, QuoteString(path)]
        super().__init__(
            *bits,
            subject=path,
            declared="secret content" if secret else f"content, {user}:{group} {mode}",
            live=live,
            _stdin=base64.encodebytes(content).decode(),
        )
        self.path, self.content, self.secret = path, content, secret
        self.before = before  # the live content, for the diff
