"""Versions of models on a host, as declared: received chunk by chunk, verified there, visible only when whole."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from pyinfra.api.command import FunctionCommand, QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.change import Change
from steelyard.events import ignore
from steelyard.host_helper import RUN_HELPER
from steelyard.models.manifest import Manifest
from steelyard.models.push import Push
from steelyard.models.state import in_place, refusal
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.refusal import Refusal


class Stage(FunctionCommand):
    """A push to this one host, over its own SSH channel; a host without our connector cannot take it."""

    def __init__(self, root: str, project: str, version: str, source: Path, manifest: Manifest, live: str) -> None:
        super().__init__(self.run, [], {})
        self.subject, self.declared, self.live = f"{root}/{project}/{version}", "verified", live
        self.words = ("store-relay", root, project, version)
        self.source, self.manifest = source, manifest

    def run(self, state: Any, host: Any) -> bool:
        talk = host.connector.converse(relay(*self.words[1:]))
        push = Push(self.manifest, self.source, {host.name: "127.0.0.1"}, {}, None, host.data.get("emit", ignore))
        result = push.run({host.name: talk})
        for error in result.errors.values():
            host.connector.last_failure = (" ".join(self.words), "failed", [error.sentence.format(**vars(error))])
        return not result.errors


def relay(root: str, project: str, version: str) -> StringCommand:
    """The helper that takes part in a push."""
    return StringCommand(RUN_HELPER, *(QuoteString(word) for word in ("store-relay", root, project, version)))


@operation()
def published(
    root: str, project: str, version: str, source: Path, manifest: Manifest
) -> Generator[StringCommand | Stage, None, None]:
    """The version is there, whole and verified, with exactly the manifest's files."""
    now = host.get_fact(HelperAnswer, words=("store-state", root, project, version))
    target = f"{root}/{project}/{version}"
    if now is None:
        yield Stage(root, project, version, source, manifest, "not looked at yet")
        return
    why = refusal(manifest, now, target)
    if why is not None:
        yield Refusal(why)
        return
    if in_place(manifest, now):
        return
    live = "altered: " + ", ".join(now["altered"]) if now["published"] else "missing"
    yield Stage(root, project, version, source, manifest, live)


@operation()
def current(root: str, project: str, version: str) -> Generator[StringCommand, None, None]:
    """`PROJECT/current` names the version; replaced by rename, and only when the version is published."""
    now = host.get_fact(HelperAnswer, words=("store-state", root, project, version))
    if now is not None and now["current"] == version:
        return
    new, link = QuoteString(f"{root}/{project}/.current.new"), QuoteString(f"{root}/{project}/current")
    live = (now or {}).get("current") or "none"
    there = StringCommand("test -d", QuoteString(f"{root}/{project}/{version}"), "&&")
    bits = [there, "ln -sfn", QuoteString(version), new, "&& mv -T", new, link]
    yield Change(*bits, subject=f"{root}/{project}/current", declared=version, live=live)
