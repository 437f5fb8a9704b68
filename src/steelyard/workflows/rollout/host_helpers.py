"""The connected hosts of a rollout, through their helpers. A connection that breaks is made anew: what a host does goes
on without it.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, TypeVar

import gevent

from steelyard.api.host_error import HostError
from steelyard.errors import HelperRefused, HelperUnreadable
from steelyard.events import Emit, Step
from steelyard.models.content.manifest import Manifest
from steelyard.modules.connectors.helper_call import helper_document, read_answer
from steelyard.rollout.open_trials import version_of
from steelyard_host.wire.codec import WireError, to_json
from steelyard_host.wire.rollout import SwitchState, Trial, TrialRequest, undone
from steelyard_host.wire.services import EngineCounters

if TYPE_CHECKING:
    from steelyard.engine.session import Session

ANSWER_S = 60
WARM_S = 600
POLL_S = 1
Answer = TypeVar("Answer")


class HostHelpers:
    """The helpers of the hosts of `session`, asked of service `service` of model `project` in the store at `root`."""

    def __init__(self, session: Session, service: str, root: str, project: str) -> None:
        self.hosts = {host.name: host for host in session.hosts}
        self.service, self.root, self.project = service, root, project

    def state(self, host: str) -> SwitchState:
        """Return what the service serves there, comes up with, and was switched to last. Raises HostError."""
        return self._call(host, SwitchState, "switch-state", self.root, self.project, self.service)

    def manifest(self, host: str, version: str) -> Manifest | None:
        """The manifest of a version that the host holds; None where it cannot tell. Raises HostError."""
        document = helper_document(self.hosts[host], "store-manifest", self.root, self.project, version)
        return Manifest.of_json(document) if document else None

    def counters(self, host: str) -> EngineCounters:
        """Return what the service's engine has counted. Raises HostError."""
        return self._call(host, EngineCounters, "service-counters", self.service)

    def warm(self, host: str, folder: str) -> None:
        """The version in `folder` is in the host's page cache, as far as it fits. May be left. Raises HostError."""
        try:
            self._document(host, "store-warm", folder, str(WARM_S), seconds=WARM_S + 60, idle=True)
        except gevent.GreenletExit:
            # its answer would be taken for that of the next question
            self.hosts[host].connector.again()  # type: ignore[attr-defined]  # ours
            raise

    def attempt(self, host: str, request: TrialRequest, seconds: float) -> Trial:
        """The record of a trial that has ended. Raises HostError."""
        document = self._document(host, "switch-try", stdin=json.dumps(to_json(request)), seconds=seconds)
        return read_answer(host, Trial, "switch-try", document)

    def confirm(self, host: str, run: str) -> Trial:
        """The record of a trial that is confirmed. Raises HostError."""
        return self._call(host, Trial, "switch-confirm", self.root, self.project, self.service, run)

    def undo(self, host: str, run: str, why: str, seconds: float) -> Trial | None:
        """The record of a trial that is undone; None where the service was never switched. Raises HostError."""
        document = self._document(host, "switch-undo", self.service, "--run", run, "--why", why, seconds=seconds)
        try:
            return undone(document)
        except WireError as error:
            raise HostError(HelperUnreadable(where=host, command="switch-undo", why=str(error))) from error

    def settled(self, host: str, run: str, seconds: float) -> Trial:
        """The record of the switch `run`, after the connection was lost; waits until nothing moves there any more.

        Raises HostError: it is still at it after `seconds`, was never begun, or nobody answers.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                self.hosts[host].connector.again()  # type: ignore[attr-defined]  # ours
                trial = self.state(host).switch
                if trial is None or trial.run != run:
                    raise _refused(host, "the switch was never begun there")
                if trial.state.is_settled:
                    return trial
            except HostError as problem:
                if isinstance(problem.error, HelperRefused | HelperUnreadable) or time.monotonic() > end:
                    raise
            if time.monotonic() > end:
                raise _refused(host, f"it was at it for {seconds:.0f} s")
            gevent.sleep(POLL_S)

    def _call(self, host: str, kind: type[Answer], *argv: str) -> Answer:
        return read_answer(host, kind, argv[0], self._document(host, *argv))

    def _document(
        self, host: str, *argv: str, stdin: str | None = None, seconds: float = ANSWER_S, idle: bool = False
    ) -> dict[str, Any]:
        """The answer. Raises HostError, also where the helper is too old."""
        document = helper_document(self.hosts[host], *argv, stdin=stdin, seconds=seconds, idle=idle)
        if document is None:
            why = "it does not know rollouts; `steelyard apply --deploy serve` brings it up to date"
            raise HostError(HelperRefused(where=host, command=argv[0], why=why))
        return document


def _refused(host: str, why: str) -> HostError:
    return HostError(HelperRefused(where=host, command="switch-try", why=why))


def states_of(session: Session, helpers: HostHelpers) -> dict[str, SwitchState]:
    """The state of every host. Raises the first host's error: a rollout begins with all of them or not at all."""
    if session.errors:
        raise next(iter(session.errors.values()))
    try:
        return {name: helpers.state(name) for name in session.names}
    except HostError as problem:
        raise problem.error from None


def states_at_rest(session: Session, helpers: HostHelpers, emit: Emit) -> dict[str, SwitchState]:
    """The state of every host, where nothing moves: a switch that another run left is waited for.

    Raises the first host's error.
    """
    states = states_of(session, helpers)
    for name, state in states.items():
        trial = state.switch
        if trial is None or trial.state.is_settled:
            continue
        emit(Step(f"{name}: the switch of an earlier run to {version_of(trial.folder)} comes to its end first"))
        try:
            helpers.settled(name, trial.run, 3 * trial.ready_s + trial.drain_s)
            states[name] = helpers.state(name)
        except HostError as problem:
            raise problem.error from None
    return states


def states_now(session: Session, helpers: HostHelpers) -> dict[str, SwitchState]:
    """The state of every host that answers."""
    states = {}
    for name in session.names:
        try:
            states[name] = helpers.state(name)
        except (HostError, LookupError):
            continue
    return states
