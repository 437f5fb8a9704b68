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
from steelyard.host_helper import IDLE, RUN_HELPER
from steelyard.models.manifest import Manifest
from steelyard.models.push import Push
from steelyard.models.state import in_place, refusal
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.modules.facts.unit import Unit
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


class Adopt(FunctionCommand):
    """A version on a NAS that the host has mounted: compared there, shown by a link."""

    def __init__(self, root: str, project: str, version: str, folder: str, manifest: Manifest, live: str) -> None:
        super().__init__(self.run, [], {})
        self.subject, self.declared, self.live = f"{root}/{project}/{version}", f"{folder}, verified", live
        self.where, self.manifest = (root, project, version, folder), manifest

    def run(self, state: Any, host: Any) -> bool:
        """Every byte is read before it is shown."""
        why = adopt(host, *self.where, self.manifest)
        if why is not None:
            host.connector.last_failure = (f"store-adopt {self.subject}", "failed", [why])
        return why is None


def adopt(host: Any, root: str, project: str, version: str, folder: str, manifest: Manifest) -> str | None:
    """Have a host compare `folder` with the manifest and publish it in place. Why it was not; None where it was."""
    words = (QuoteString(word) for word in ("store-adopt", root, project, version, folder))
    talk = host.connector.converse(StringCommand(RUN_HELPER, *words))
    said: dict[str, Any] = {}
    try:
        talk.order({"manifest": manifest.as_json()})
        for said in talk.told():  # noqa: B007
            pass
    except (OSError, EOFError) as error:
        return str(error) or "the link ended"
    finally:
        talk.close()
    return None if "published" in said else str(said.get("error", "its helper ended"))


def relay(root: str, project: str, version: str) -> StringCommand:
    """The helper that takes part in a push."""
    return StringCommand(RUN_HELPER, *(QuoteString(word) for word in ("store-relay", root, project, version)))


@operation()
def published(
    root: str, project: str, version: str, source: Path, manifest: Manifest, shared: str | None = None
) -> Generator[StringCommand | Stage | Adopt, None, None]:
    """The version is there, whole and verified, with exactly the manifest's files; `shared`: where the host has them mounted."""
    now = host.get_fact(HelperAnswer, words=("store-state", root, project, version))
    target = f"{root}/{project}/{version}"
    if now is None:
        yield _bring(root, project, version, source, manifest, shared, "not looked at yet")
        return
    why = refusal(manifest, now, target, copied=shared is None)
    if why is not None:
        yield Refusal(why)
        return
    if in_place(manifest, now):
        return
    live = "altered: " + ", ".join(now["altered"]) if now["published"] else "missing"
    yield _bring(root, project, version, source, manifest, shared, live)


def _bring(
    root: str, project: str, version: str, source: Path, manifest: Manifest, shared: str | None, live: str
) -> Stage | Adopt:
    if shared is not None:
        return Adopt(root, project, version, shared, manifest, live)
    return Stage(root, project, version, source, manifest, live)


@operation()
def current(root: str, project: str, version: str) -> Generator[StringCommand, None, None]:
    """`PROJECT/current` names the version, `previous` the one before; by rename, and only when the version is published."""
    now = host.get_fact(HelperAnswer, words=("store-state", root, project, version))
    if now is not None and now["current"] == version:
        return
    live = (now or {}).get("current") or "none"
    words = (QuoteString(word) for word in ("store-switch", root, project, version))
    yield Change(RUN_HELPER, *words, ">/dev/null", subject=f"{root}/{project}/current", declared=version, live=live)


@operation()
def warmed(unit: str, mount: str, folder: str, seconds: int) -> Generator[StringCommand, None, None]:
    """A version that will replace the one that `unit` serves is in the page cache before that one stops; at idle priority."""
    now = host.get_fact(Unit, unit=unit, mount=mount, wanted=folder)
    if now.active not in ("active", "reloading") or now.mounted in (None, folder):
        host.noop(f"{unit} serves {folder}, or nothing yet")
        return
    words = (QuoteString(word) for word in ("store-warm", folder, str(seconds)))
    yield Change(IDLE, RUN_HELPER, *words, ">/dev/null", subject=folder, declared="in the page cache", live="not looked at")


@operation()
def there(root: str, project: str, version: str, fix: str) -> Generator[StringCommand, None, None]:
    """A version that something else makes is published and unaltered; where it is not, this host is refused with the fix."""
    now = host.get_fact(HelperAnswer, words=("store-state", root, project, version))
    if now is not None and now["published"] and not now["altered"]:
        host.noop(f"{root}/{project}/{version} is published")
        return
    found = "changed: " + ", ".join(now["altered"]) if now is not None and now["published"] else "not there"
    yield Refusal(f"{root}/{project}/{version} is {found}; `{fix}` makes it")
