"""Files, folders and links as declared: content over standard input, in place by rename, modes settled."""

from __future__ import annotations

import hashlib
from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.change import Change, FileWrite
from steelyard.modules.facts.path import Content, Path, PathState
from steelyard.refusal import Refusal


def shown(now: PathState) -> str:
    """A live state in words, without content."""
    if now.kind == "none":
        return "missing"
    if now.kind == "link":
        return f"link to {now.target}"
    return f"{now.kind}, {now.user}:{now.group} {now.mode}"


def attribute_commands(path: str, mode: str, user: str, group: str, now: PathState) -> list[StringCommand]:
    """Commands that settle owner and mode of what is there; a folder's setgid is cleared only by five digits."""
    commands: list[StringCommand] = []
    declared, live = f"{user}:{group} {mode}", shown(now)
    if (now.user, now.group) != (user, group):
        owner = QuoteString(f"{user}:{group}")
        commands.append(Change("chown", owner, QuoteString(path), subject=path, declared=declared, live=live))
    if now.mode != mode:
        commands.append(Change("chmod", f"0{mode}", QuoteString(path), subject=path, declared=declared, live=live))
    return commands


@operation()
def content(
    path: str,
    content: str | bytes,
    mode: str = "0644",
    user: str = "root",
    group: str = "root",
    secret: bool = False,
    check: str | None = None,
) -> Generator[StringCommand, None, None]:
    """The file holds this content and nothing else. `check` must accept a new file before it is put in place."""
    wanted = content.encode() if isinstance(content, str) else content
    now = host.get_fact(Path, path=path)
    if now.kind in ("folder", "other"):
        yield Refusal(f"{path} is a {now.kind} and a file is declared; move it away")
        return
    if now.kind == "file" and now.sha256 == hashlib.sha256(wanted).hexdigest():
        commands = attribute_commands(path, mode, user, group, now)
        if not commands:
            host.noop(f"{path} is as declared")
        yield from commands
        return
    before = None if secret or now.kind != "file" else host.get_fact(Content, path=path)
    live = "another content" if now.kind == "file" else shown(now)
    if now.kind == "none":
        before = None if secret else b""
    yield FileWrite(path, wanted, mode=mode, user=user, group=group, live=live, before=before, secret=secret, check=check)


@operation()
def folder(path: str, mode: str = "0755", user: str = "root", group: str = "root") -> Generator[StringCommand, None, None]:
    """The folder exists with this owner and mode; its parents are made with the default mode."""
    now = host.get_fact(Path, path=path)
    if now.kind == "folder":
        yield from attribute_commands(path, mode, user, group, now)
    elif now.kind == "none":
        bits = ["install -d -m", f"0{mode}", "-o", QuoteString(user), "-g", QuoteString(group), QuoteString(path)]
        yield Change(*bits, subject=path, declared=f"{user}:{group} {mode}", live="missing")
    else:
        yield Refusal(f"{path} is a {now.kind} and a folder is declared; move it away")


@operation()
def link(path: str, target: str) -> Generator[StringCommand, None, None]:
    """The link points there; replaced by rename, so that nobody finds it missing."""
    now = host.get_fact(Path, path=path)
    if now.kind == "link" and now.target == target:
        return
    if now.kind not in ("none", "link"):
        yield Refusal(f"{path} is a {now.kind} and a link is declared; move it away")
        return
    new = QuoteString(f"{path}.steelyard-new")
    bits = ["ln -sfn", QuoteString(target), new, "&& mv -T", new, QuoteString(path)]
    yield Change(*bits, subject=path, declared=f"link to {target}", live=shown(now))


@operation()
def absent(path: str) -> Generator[StringCommand, None, None]:
    """Nothing is at the path; a folder is not removed."""
    now = host.get_fact(Path, path=path)
    if now.kind in ("file", "link"):
        yield Change("rm -f", QuoteString(path), subject=path, declared="absent", live=shown(now))
    elif now.kind != "none":
        yield Refusal(f"{path} is a {now.kind}; it is not removed without you")
