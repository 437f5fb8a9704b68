"""Versions of models on a host, as declared: received chunk by chunk, verified there, visible only when whole."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import gevent
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
    """A host's part in the push of a version. Hosts of one run that come to it while it runs take it from each other."""

    def __init__(self, root: str, project: str, version: str, source: Path, manifest: Manifest, live: str) -> None:
        super().__init__(self.run, [], {})
        self.subject, self.declared, self.live = f"{root}/{project}/{version}", "verified", live
        self.version, self.source, self.manifest = (root, project, version), source, manifest

    def run(self, state: Any, host: Any) -> bool:
        """Its first host begins a push, the next ones join. Goes on as soon as this host has the version."""
        talk = host.connector.converse(relay(*self.version))
        address = str(host.data.get("ssh_hostname") or host.name)
        rack = str(host.data.get("rack") or "")
        pushes: dict[Any, tuple[Push, gevent.Greenlet]] = state.__dict__.setdefault("steelyard_pushes", {})
        push, running = pushes.get(self.version, (None, None))
        if push is None or running is None or push.closing:
            push = Push(
                self.manifest, self.source, {host.name: address}, {host.name: rack}, None, host.data.get("emit", ignore)
            )
            running = gevent.spawn(push.run, {host.name: talk})
            pushes[self.version] = (push, running)
            gevent.sleep(0)  # it has this host now
        else:
            push.join(host.name, talk, address, rack)
        # a server that gives one session at a time has none for our next command before the push is over
        error = push.wait(host.name, over=host.connector.one_session)
        if running.ready():
            running.get()  # raises what ended it
        if error is not None:
            host.connector.last_failure = (str(relay(*self.version)), "failed", [error.sentence.format(**vars(error))])
        return error is None


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
