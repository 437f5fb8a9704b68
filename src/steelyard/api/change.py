"""Commands that say what they change, and commands that say no: a plan shows subject, declared, live, or the reason."""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Any, TypedDict

from pyinfra.api.command import QuoteString, StringCommand

from steelyard.errors import SteelyardError


class Effect(StrEnum):
    """The kind of a change, as far as whoever reads a plan has to weigh it."""

    CHANGE = "change"
    RESTART = "restart"  # something that serves ends, and starts again
    STOP = "stop"  # something that serves ends, and stays so
    REMOVAL = "removal"  # something is gone afterwards


class Reason(TypedDict):
    """The reason of a change, where several commands share it."""

    subject: str
    declared: str
    live: str


class Change(StringCommand):
    """A command with its reason. `subject` is the thing on the host; `declared` and `live` are safe to print.

    `outage_s`: seconds for which clients may have to wait because of it; None where that cannot be known. `depends_on`:
    things (`finding.thing`) by which it comes of itself, or cannot succeed while they are wrong; `fix`: what mends it
    where an apply would not.
    """

    def __init__(
        self,
        *bits: Any,
        subject: str,
        declared: str,
        live: str,
        effect: Effect = Effect.CHANGE,
        outage_s: float | None = 0.0,
        depends_on: tuple[str, ...] = (),
        fix: str | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(*bits, **arguments)
        self.subject, self.declared, self.live = subject, declared, live
        self.effect, self.outage_s = effect, outage_s
        self.depends_on, self.fix = depends_on, fix


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
        # a file system may have the name before the content: what the power's cut leaves is an empty file then
        bits += ["&& sync", new, "&& mv -T", new, QuoteString(path), "&& sync", parent]
        super().__init__(
            *bits,
            subject=path,
            declared="secret content" if secret else f"content, {user}:{group} {mode}",
            live=live,
            _stdin=base64.encodebytes(content).decode(),
        )
        self.path, self.content, self.secret = path, content, secret
        self.before = before  # the live content, for the diff


class Refusal(StringCommand):
    """Fails this host, and no other, with `reason` on stderr. A plan lists it as a finding, not a change.

    `error` is what it says, where that is one of ours.
    """

    def __init__(self, reason: str, error: SteelyardError | None = None) -> None:
        super().__init__("echo", QuoteString(reason), ">&2; exit 1")
        self.reason, self.error = reason, error
