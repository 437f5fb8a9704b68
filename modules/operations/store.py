"""Versions of models on a host, as declared: received chunk by chunk, verified there, visible only when whole."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
from pyinfra.api.command import FunctionCommand, QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from steelyard.api.change import Change, Refusal
from steelyard.api.host_report import FailedCommand, report_of
from steelyard.api.run_slots import run_slot
from steelyard.artifacts.helper import IDLE, RUN_HELPER
from steelyard.events import ignore
from steelyard.models.content.manifest import Manifest
from steelyard.models.distribution.push import Push
from steelyard.models.distribution.target_state import in_place, refusal
from steelyard.modules.connectors.connection import connection_of
from steelyard.modules.facts.helper import helper_fact
from steelyard.modules.facts.unit import Unit
from steelyard_host.wire.relay import AdoptCommand, Failed, Published, relay_event
from steelyard_host.wire.store import VersionState

if TYPE_CHECKING:
    from steelyard_host.wire.relay import RelayEvent


class RunningPushes(dict[tuple[str, str, str], tuple[Push, gevent.Greenlet]]):
    """Pushes of a run by root, model and version: its hosts join one that runs."""


class Stage(FunctionCommand):
    """A host's part in the push of a version. Hosts of one run that come to it while it runs take it from each
    other.
    """

    def __init__(self, root: str, project: str, version: str, source: Path, manifest: Manifest, live: str) -> None:
        super().__init__(self.run, [], {})
        self.subject, self.declared, self.live = f"{root}/{project}/{version}", "verified", live
        self.version, self.source, self.manifest = (root, project, version), source, manifest

    def run(self, state: State, host: Host) -> bool:
        """Begin a push for the first host, join it for the next ones. Goes on as soon as this host has the version."""
        connection = connection_of(host)
        talk = connection.open_stream(relay(*self.version))
        address = str(host.data.get("ssh_hostname") or host.name)
        rack = str(host.data.get("rack") or "")
        pushes = run_slot(state, RunningPushes)
        push, running = pushes.get(self.version, (None, None))
        if push is None or running is None or push.closing:
            push = Push(
                self.manifest,
                self.source,
                {host.name: address},
                {host.name: rack},
                None,
                host.data.get("emit", ignore),
                what=" ".join(self.version[1:]),
            )
            running = gevent.spawn(push.run, {host.name: talk})
            pushes[self.version] = (push, running)
            gevent.sleep(0)  # it has this host now
        else:
            push.join(host.name, talk, address, rack)
        # a server that gives one session at a time has none for our next command before the push is over
        error = push.wait(host.name, over=connection.one_session)
        if running.ready():
            running.get()  # raises what ended it
        if error is not None:
            report_of(state, host).failed = FailedCommand(
                str(relay(*self.version)), "failed", [error.sentence.format(**vars(error))]
            )
        return error is None


class Adopt(FunctionCommand):
    """A version on a NAS that the host has mounted: compared there, shown by a link."""

    def __init__(self, root: str, project: str, version: str, folder: str, manifest: Manifest, live: str) -> None:
        super().__init__(self.run, [], {})
        self.subject, self.declared, self.live = f"{root}/{project}/{version}", f"{folder}, verified", live
        self.where, self.manifest = (root, project, version, folder), manifest

    def run(self, state: State, host: Host) -> bool:
        """Every byte is read before it is shown."""
        reason = adopt(host, *self.where, self.manifest)
        if reason is not None:
            report_of(state, host).failed = FailedCommand(f"store-adopt {self.subject}", "failed", [reason])
        return reason is None


def adopt(host: Host, root: str, project: str, version: str, folder: str, manifest: Manifest) -> str | None:
    """Have a host compare `folder` with the manifest and publish it in place. Why it was not; None where it was."""
    argv = (QuoteString(word) for word in ("store-adopt", root, project, version, folder))
    talk = connection_of(host).open_stream(StringCommand(RUN_HELPER, *argv))
    event: RelayEvent | None = None
    try:
        with suppress(OSError, EOFError):  # it ended before it read: its last words say why
            talk.send_command(AdoptCommand(manifest.as_json()))
        for event in talk.events(relay_event):  # noqa: B007
            pass
    except (OSError, EOFError) as error:
        return str(error) or "the link ended"
    finally:
        talk.close()
    if isinstance(event, Published):
        return None
    return event.error if isinstance(event, Failed) else "its helper ended"


def relay(root: str, project: str, version: str) -> StringCommand:
    """The command of the helper that takes part in a push."""
    return StringCommand(RUN_HELPER, *(QuoteString(word) for word in ("store-relay", root, project, version)))


@operation()
def version_published(
    root: str, project: str, version: str, source: Path, manifest: Manifest, shared: str | None = None
) -> Generator[StringCommand | Stage | Adopt, None, None]:
    """The version is there, whole and verified, with exactly the manifest's files.

    `shared`: where the host has them mounted.
    """
    stored = helper_fact(host, VersionState, "store-state", root, project, version)
    target = f"{root}/{project}/{version}"
    if stored is None:
        yield _bring(root, project, version, source, manifest, shared, "not looked at yet")
        return
    reason = refusal(manifest, stored, target, copied=shared is None)
    if reason is not None:
        yield Refusal(reason)
        return
    if in_place(manifest, stored):
        return
    live = "altered: " + ", ".join(stored.altered) if stored.published else "missing"
    yield _bring(root, project, version, source, manifest, shared, live)


def _bring(
    root: str, project: str, version: str, source: Path, manifest: Manifest, shared: str | None, live: str
) -> Stage | Adopt:
    if shared is not None:
        return Adopt(root, project, version, shared, manifest, live)
    return Stage(root, project, version, source, manifest, live)


@operation()
def current(root: str, project: str, version: str) -> Generator[StringCommand, None, None]:
    """`PROJECT/current` names the version, `previous` the one before; by rename, and only when the version is
    published.
    """
    stored = helper_fact(host, VersionState, "store-state", root, project, version)
    if stored is not None and stored.current == version:
        return
    live = (stored and stored.current) or "none"
    argv = (QuoteString(word) for word in ("store-switch", root, project, version))
    yield Change(RUN_HELPER, *argv, ">/dev/null", subject=f"{root}/{project}/current", declared=version, live=live)


@operation()
def page_cache_warmed(unit: str, mount: str, folder: str, seconds: int) -> Generator[StringCommand, None, None]:
    """A version that will replace the one that `unit` serves is in the page cache before that one stops.

    It is read at idle priority.
    """
    serving = host.get_fact(Unit, unit=unit, mount=mount, wanted=folder)
    if serving.active not in ("active", "reloading") or serving.mounted in (None, folder):
        host.noop(f"{unit} serves {folder}, or nothing yet")
        return
    argv = (QuoteString(word) for word in ("store-warm", folder, str(seconds)))
    yield Change(
        IDLE, RUN_HELPER, *argv, ">/dev/null", subject=folder, declared="in the page cache", live="not looked at"
    )


@operation()
def version_present(root: str, project: str, version: str, fix: str) -> Generator[StringCommand, None, None]:
    """A version that something else makes is published and unaltered; else this host is refused with the fix."""
    stored = helper_fact(host, VersionState, "store-state", root, project, version)
    if stored is not None and stored.published and not stored.altered:
        host.noop(f"{root}/{project}/{version} is published")
        return
    live = "changed: " + ", ".join(stored.altered) if stored is not None and stored.published else "not there"
    yield Refusal(f"{root}/{project}/{version} is {live}; `{fix}` makes it")
