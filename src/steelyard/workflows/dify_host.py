"""Work that the Dify host does itself, asked for from here: archives, a restore, an upgrade.

Long work runs in a unit of its own there. A connection that breaks does not end it, and is made anew.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import gevent

from steelyard.api.host_error import HostError
from steelyard.errors import (
    DifyHostRefused,
    DifyUpgradeFailed,
    HelperRefused,
    HelperUnreadable,
    SettingMissing,
    SteelyardError,
)
from steelyard.events import BytesMoved, Emit, ErrorReported, Step
from steelyard.interrupts.signals import HANDLER
from steelyard.modules.connectors.helper_call import helper_document
from steelyard_host.wire.codec import WireError, from_json
from steelyard_host.wire.dify import JobState, Progress, Pulled, Rehearsal, StackState, Upgrade, UpgradeState

from .run_context import RunOptions, fleet_lock, journal_of, open_session

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.inventory.fleet import Fleet

UNIT = "steelyard-dify-work"
RECOVER = "steelyard-dify-recover.service"
Answer = TypeVar("Answer")
ANSWER_S = 120
NOT_BEGUN_LOOKS = 5  # a second apart, at a unit that ended without a word
SILENT_S = 600  # that a host may be away while it works
STAGE_DEPLOY = "dify_upgrade"


class Releases(NamedTuple):
    """The release of Dify that runs, and the one that is declared."""

    running: str
    declared: str


class DifyHost:
    """The connected Dify host; answers of its helper as values of the wire, refusals as errors of ours."""

    def __init__(self, host: Host, emit: Emit) -> None:
        self.host, self.name, self.emit = host, str(host.name), emit

    def ask(self, kind: type[Answer], *argv: str) -> Answer:
        """The helper's answer. Raises DifyHostRefused with its sentence, and the error of a broken connection."""
        document = self._document(*argv)
        if document is None:
            why = "its helper does not know Dify; `steelyard apply` brings it up to date"
            raise DifyHostRefused(where=self.name, why=why)
        return self._read(kind, argv[0], document)

    def ask_patiently(self, kind: type[Answer], *argv: str) -> Answer:
        """The answer while work goes on; a broken connection is made anew for ten minutes. Raises as `ask` does."""
        end, is_lost = time.monotonic() + SILENT_S, False
        while True:
            try:
                if is_lost:
                    self.host.connector.again()  # type: ignore[attr-defined]  # ours
                return self.ask(kind, *argv)
            except DifyHostRefused:
                raise
            except (SteelyardError, HostError):
                if time.monotonic() > end:
                    raise
            is_lost = True
            gevent.sleep(2)

    def work(self, kind: type[Answer], *argv: str) -> Answer:
        """The answer of long work in a unit of its own, told as it goes on. Raises DifyHostRefused."""
        if self.ask(JobState, "dify-doing", UNIT).active:  # a helper that is too old says so here
            raise DifyHostRefused(where=self.name, why=f"other work on Dify goes on there: `systemctl status {UNIT}`")
        number = secrets.token_hex(6)
        self._begin("dify-work", number, *argv)
        while True:
            gevent.sleep(1)
            job = self.ask_patiently(JobState, "dify-doing", UNIT)
            self._tell_progress(job.doing)
            if job.active:  # the next work needs the unit's name
                continue
            if job.ended is None or job.ended.number != number:
                raise DifyHostRefused(where=self.name, why=f"its work did not come to its end: `journalctl -u {UNIT}`")
            if job.ended.why is not None:
                raise DifyHostRefused(where=self.name, why=job.ended.why)
            return self._read(kind, argv[0], job.ended.answer)

    def releases(self, fleet: Fleet) -> Releases:
        """The releases that run and are declared. Raises SettingMissing, and DifyHostRefused where no upgrade can be
        made.
        """
        from steelyard.roles.dify import dify_settings

        settings = dify_settings(fleet)
        if settings.release is None:
            raise SettingMissing(where=str(fleet.path), key="dify.release", allowed="the release to upgrade to")
        state = self.ask(StackState, "dify-state", settings.folder)
        if state.version is None:
            raise DifyHostRefused(where=self.name, why="no Dify of ours runs here yet; `steelyard apply` installs it")
        if state.keyless:
            lost = ", ".join(state.keyless)
            why = f"the private keys of workspaces {lost} are gone; no upgrade before they are found"
            raise DifyHostRefused(where=self.name, why=why)
        return Releases(state.version, settings.release.version)

    def rehearse(self, releases: Releases, verified: str) -> Rehearsal:
        """Pull the staged release, telling how it was `verified`, and rehearse it on a copy of the last backup.

        Raises DifyHostRefused.
        """
        self.emit(Step(f"Dify {releases.declared}: {verified}"))
        self.emit(Step(f"{self.name}: Dify {releases.declared} is staged beside {releases.running}"))
        pulled = self.work(Pulled, "dify-pull")
        self.emit(Step(f"{self.name}: its images are here after {pulled.seconds} s"))
        rehearsal = self.work(Rehearsal, "dify-rehearse")
        self.emit(Step(f"{self.name}: rehearsed on {rehearsal.archive} in {rehearsal.seconds} s"))
        for proof in rehearsal.checked:
            self.emit(Step(f"{self.name}: on the copy, {proof}"))
        for left_out in rehearsal.unchecked:
            self.emit(Step(f"{self.name}: not checked: {left_out}"))
        return rehearsal

    def switch(self) -> Upgrade:
        """Move to the staged release, in a unit of its own, and tell its steps; the record of it when it is done.

        Raises DifyUpgradeFailed where the old release runs again, DifyHostRefused where neither does.
        """
        begun = self.ask(Upgrade, "dify-progress").begun
        self._begin("dify-switch", on_failure=RECOVER)
        steps_told = looks_idle = 0
        while True:
            is_active = self.ask_patiently(JobState, "dify-doing", UNIT).active
            upgrade = self.ask_patiently(Upgrade, "dify-progress")
            looks_idle = 0 if is_active or upgrade.begun != begun else looks_idle + 1
            if looks_idle == NOT_BEGUN_LOOKS:
                raise DifyHostRefused(where=self.name, why=f"the upgrade was not begun: `journalctl -u {UNIT}`")
            if upgrade.begun != begun:
                for step in upgrade.steps[steps_told:]:
                    self.emit(Step(f"{self.name}: {step.at:6.1f} s  {step.step}"))
                steps_told = len(upgrade.steps)
                if upgrade.state is not UpgradeState.RUNNING:
                    self._require_done(upgrade)
                    return upgrade._replace(doing=None)
                self._tell_progress(upgrade.doing)
            gevent.sleep(1)

    def _require_done(self, upgrade: Upgrade) -> None:
        old, new, archive = str(upgrade.from_version), str(upgrade.to), str(upgrade.archive)
        if upgrade.state is UpgradeState.RESTORED and not upgrade.steps:
            raise DifyHostRefused(where=self.name, why=f"{new} was not begun: {upgrade.why}")
        if upgrade.state is UpgradeState.RESTORED:
            raise DifyUpgradeFailed(where=self.name, old=old, new=new, why=str(upgrade.why), archive=archive)
        if upgrade.state is not UpgradeState.DONE:
            why = f"neither {new} nor {old} answers: {upgrade.why}; the backup is {archive}"
            raise DifyHostRefused(where=self.name, why=why)

    def _begin(self, *argv: str, on_failure: str = "") -> None:
        """Begin work in a unit of its own, and wait for nothing; a process that is killed hands on to `on_failure`."""
        self._document(*argv, unit=UNIT, wait=False, on_failure=on_failure)

    def _document(self, *argv: str, unit: str = "", wait: bool = True, on_failure: str = "") -> dict[str, Any] | None:
        try:
            return helper_document(self.host, *argv, seconds=ANSWER_S, unit=unit, wait=wait, on_failure=on_failure)
        except HostError as failed:
            if isinstance(failed.error, HelperRefused):
                raise DifyHostRefused(where=self.name, why=failed.error.why) from failed
            raise failed.error from failed

    def _read(self, kind: type[Answer], command: str, document: object) -> Answer:
        """The value that a document says. Raises HelperUnreadable."""
        of_json: Callable[[object], Answer] | None = getattr(kind, "of_json", None)
        try:
            return of_json(document) if of_json is not None else from_json(kind, document)
        except WireError as error:
            raise HelperUnreadable(where=self.name, command=command, why=str(error)) from error

    def _tell_progress(self, progress: Progress | None) -> None:
        if progress is not None:
            self.emit(BytesMoved(self.name, progress.what, progress.done, progress.total))


@contextmanager
def dify_host(options: RunOptions, emit: Emit) -> Iterator[tuple[Fleet, DifyHost]]:
    """The first host of group `dify`. Raises every error of reading, LimitMatchedNoHost, and the host's own."""
    with open_session(options, emit) as (fleet, session):
        connected: dict[str, Host] = {}
        session.each(lambda host: connected.__setitem__(host.name, host))
        if session.errors:
            raise next(iter(session.errors.values()))
        yield fleet, DifyHost(connected[fleet.groups["dify"][0]], emit)


@contextmanager
def fleet_locked(options: RunOptions, fleet: Fleet, emit: Emit, command: str) -> Iterator[None]:
    """Hold the fleet's lock for `command`; that it was lost meanwhile is reported. Raises what `take` raises."""
    from steelyard.engine.lock import held_lock
    from steelyard.engine.run_owner import RunOwner

    with (
        fleet_lock(options, fleet, emit) as lock,
        held_lock(lock, RunOwner.here(command), lambda error: emit(ErrorReported(error))),
    ):
        yield


def stage_release(options: RunOptions, emit: Emit, mask: Callable[[str], str]) -> None:
    """Put the declared release into a folder beside the running one, by the role itself. Raises the host's error."""
    from steelyard.engine.apply import WavePolicy, apply_plan
    from steelyard.engine.run_owner import RunOwner

    with open_session(options, emit) as (fleet, session):
        planned = session.look(keep=True)
        if planned.pending and not planned.errors:
            with fleet_lock(options, fleet, emit) as lock:
                owner = RunOwner.here("dify upgrade: stage")
                apply_plan(session, lock, journal_of(options), WavePolicy(), owner, mask)
            HANDLER.check()
        if session.errors:
            raise next(iter(session.errors.values()))
