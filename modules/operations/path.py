"""Files, folders and links as declared: content over standard input, in place by rename, modes settled."""

from __future__ import annotations

import hashlib
from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Effect, FileWrite, Refusal
from steelyard.api.foreseen import foreseen
from steelyard.modules.facts.path import Content, Path, PathState


def shown(current: PathState) -> str:
    """Return a live state in words, without content."""
    if current.kind == "none":
        return "missing"
    if current.kind == "link":
        return f"link to {current.target}"
    return f"{current.kind}, {current.user}:{current.group} {current.mode}"


def attribute_commands(path: str, mode: str, user: str, group: str, current: PathState) -> list[StringCommand]:
    """Return the commands that settle owner and mode of what is there; a folder's setgid is cleared only by five
    digits.
    """
    commands: list[StringCommand] = []
    declared, live = f"{user}:{group} {mode}", shown(current)
    if (current.user, current.group) != (user, group):
        owner = QuoteString(f"{user}:{group}")
        commands.append(Change("chown", owner, QuoteString(path), subject=path, declared=declared, live=live))
    if current.mode != mode:
        commands.append(Change("chmod", f"0{mode}", QuoteString(path), subject=path, declared=declared, live=live))
    return commands


def file_commands(
    path: str,
    content: bytes,
    mode: str = "0644",
    user: str = "root",
    group: str = "root",
    secret: bool = False,
    check: str | None = None,
) -> Generator[StringCommand, None, None]:
    """Yield what makes the file hold this content: its attributes, all of it, or nothing. Asks the host in context."""
    current = host.get_fact(Path, path=path)
    if current.kind in ("folder", "other"):
        yield Refusal(f"{path} is a {current.kind} and a file is declared; move it away")
        return
    if current.kind == "file" and current.sha256 == hashlib.sha256(content).hexdigest():
        commands = attribute_commands(path, mode, user, group, current)
        if not commands:
            host.noop(f"{path} is as declared")
        yield from commands
        return
    before = None if secret or current.kind != "file" else host.get_fact(Content, path=path)
    live = "another content" if current.kind == "file" else shown(current)
    if current.kind == "none":
        before = None if secret else b""
    yield FileWrite(
        path, content, mode=mode, user=user, group=group, live=live, before=before, secret=secret, check=check
    )


def absent_commands(path: str) -> Generator[StringCommand, None, None]:
    """Yield what removes a file or link; a folder is refused. Asks the host in context."""
    current = host.get_fact(Path, path=path)
    if current.kind in ("file", "link"):
        effect = Effect.REMOVAL
        yield Change("rm -f", QuoteString(path), subject=path, declared="absent", live=shown(current), effect=effect)
    elif current.kind != "none":
        yield Refusal(f"{path} is a {current.kind}; it is not removed without you")


@foreseen
@operation()
def file(
    path: str,
    content: str | bytes,
    mode: str = "0644",
    user: str = "root",
    group: str = "root",
    secret: bool = False,
    check: str | None = None,
) -> Generator[StringCommand, None, None]:
    """The file holds this content and nothing else. `check` must accept a new file before it is put in place."""
    encoded = content.encode() if isinstance(content, str) else content
    yield from file_commands(path, encoded, mode, user, group, secret, check)


@foreseen
@operation()
def folder(
    path: str, mode: str = "0755", user: str = "root", group: str = "root"
) -> Generator[StringCommand, None, None]:
    """The folder exists with this owner and mode; its parents are made with the default mode."""
    current = host.get_fact(Path, path=path)
    if current.kind == "folder":
        yield from attribute_commands(path, mode, user, group, current)
    elif current.kind == "none":
        bits = ["install -d -m", f"0{mode}", "-o", QuoteString(user), "-g", QuoteString(group), QuoteString(path)]
        yield Change(*bits, subject=path, declared=f"{user}:{group} {mode}", live="missing")
    else:
        yield Refusal(f"{path} is a {current.kind} and a folder is declared; move it away")


@foreseen
@operation()
def link(path: str, target: str) -> Generator[StringCommand, None, None]:
    """The link points there; replaced by rename, so that nobody finds it missing."""
    current = host.get_fact(Path, path=path)
    if current.kind == "link" and current.target == target:
        return
    if current.kind not in ("none", "link"):
        yield Refusal(f"{path} is a {current.kind} and a link is declared; move it away")
        return
    new = QuoteString(f"{path}.steelyard-new")
    parent = QuoteString(path.rsplit("/", 1)[0] or "/")
    bits = ["ln -sfn", QuoteString(target), new, "&& mv -T", new, QuoteString(path), "&& sync", parent]
    yield Change(*bits, subject=path, declared=f"link to {target}", live=shown(current))


@foreseen
@operation()
def file_absent(path: str) -> Generator[StringCommand, None, None]:
    """No file or link is at the path; a folder is not removed."""
    yield from absent_commands(path)
