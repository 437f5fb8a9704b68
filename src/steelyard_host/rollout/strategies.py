"""The ways of a service to another version and back, each a class with its steps: `run`, and `revert` where it failed.

Each measures as it goes: a way that fails half way has said how long its first half took.
"""

from __future__ import annotations

import subprocess
import time
from typing import NamedTuple

from steelyard_host.causes import evidence
from steelyard_host.engine import control_api, probe, trial_record
from steelyard_host.engine.service import HostService
from steelyard_host.errors import HelperError
from steelyard_host.proxy import front
from steelyard_host.rollout import quality_gate, sleep_swap, surge
from steelyard_host.supervise import on_demand
from steelyard_host.system import systemd
from steelyard_host.wire.rollout import Strategy, Trial


class Timing(NamedTuple):
    """Seconds that a switch took: `drained_s` until requests had ended, `gap_s` in which nobody answered; None where it
    was not measured.
    """

    drained_s: float | None = None
    gap_s: float | None = None


def check_prompts(engine: HostService, trial: Trial) -> None:
    """The engine answers the trial's prompts as they expect. Raises HelperError with the first that it does not."""
    wrong = quality_gate.first_wrong(engine, trial.service, trial.prompts)
    if wrong is not None:
        raise HelperError(wrong)


def check_token(service: HostService) -> None:
    """The engine generates a token. Raises HelperError."""
    gives, reason = probe.one_token(service.socket, service.name)
    if not gives:
        raise HelperError("it gives no token: %s" % reason)


def bind(service: HostService, folder: str) -> None:
    """The running engine sees the version in `folder` at its constant path. Raises HelperError."""
    systemd.run("systemctl", "bind", "--read-only", "--mkdir", service.unit, folder, service.model_mount)


def restart(service: HostService, ready_s: float, drain_s: float) -> None:
    """The unit starts anew and gives a token; its own limits may be longer than `ready_s`. Raises HelperError with the
    cause.
    """
    unit = service.unit
    systemd.daemon_reload()
    systemd.reset_failed(unit)
    if service.is_lazy:
        was_down = not systemd.is_active(unit)
        if was_down and on_demand.make_room(service, drain_s, ready_s) != 0:
            raise HelperError("it has no room beside the others of this host")
        on_demand.keep_up(service, ready_s)
        if was_down:
            if not systemd.is_active(unit):
                raise evidence.EngineDied("it does not start", unit, evidence.of_unit(unit))
            return
    try:
        done = systemd.systemctl("restart", unit, timeout=ready_s)
    except subprocess.TimeoutExpired as error:
        cause = evidence.hangs(unit)
        systemd.kill(unit)  # one that hangs would not end by itself either
        raise evidence.EngineDied("it gave no token within %d s" % ready_s, unit, cause) from error
    if not done or not systemd.is_active(unit):  # a condition that does not hold is no failure to systemd
        raise evidence.EngineDied("it does not start", unit, evidence.of_unit(unit))


def restart_back(service: HostService, trial: Trial) -> None:
    """The service started with this version before, so what stops it once may be over: a second try comes before giving
    up. Raises HelperError.
    """
    try:
        restart(service, trial.ready_s, trial.drain_s)
    except HelperError as error:
        print("%s is started once more: %s" % (service.name, error), flush=True)
        restart(service, trial.ready_s, trial.drain_s)


class Swap:
    """The engine is started anew with the version, while requests wait at the gateway. The base of the other ways."""

    starts = 1  # of an engine, which the trial's time has to be enough for

    def __init__(self, service: HostService, trial: Trial) -> None:
        self.service, self.trial, self.timing = service, trial, Timing()

    def run(self) -> None:
        """The service's engine has the version. Raises HelperError, OSError or SubprocessError."""
        self.close_port()
        self.bind_and_restart()

    def revert(self) -> None:
        """The service has the version of before again, and the trial's drop-in is gone. Raises HelperError."""
        path = trial_record.trial_drop_in(self.service)
        was_bound = path.exists()
        path.unlink(missing_ok=True)
        self.go_back(was_bound)

    # Steps

    def go_back(self, was_bound: bool) -> None:
        """The engine has the version of before again. `was_bound`: whether the trial's drop-in was there."""
        front.unmark(self.service)  # should it take longer than we wait, its own start lets requests in
        restart_back(self.service, self.trial)

    def close_port(self) -> None:
        """Turn new requests away, and wait for those that run. Raises HelperError."""
        front.out(self.service, mark=True)
        took = front.drained(self.service, self.trial.drain_s)
        if took is None:
            raise HelperError("requests were still running after %d s" % self.trial.drain_s)
        self.timing = self.timing._replace(drained_s=round(took, 3))

    def bind_and_restart(self, began: float | None = None) -> None:
        """The unit starts with the version. `began`: when nobody was answered any more, now where it is None."""
        trial_record.bind_trial(self.service, self.trial)
        began = time.monotonic() if began is None else began
        restart(self.service, self.trial.ready_s, self.trial.drain_s)
        self.measured_gap(began)

    def measured_gap(self, began: float) -> None:
        """Measure the gap: nobody was answered from `began` to now."""
        self.timing = self.timing._replace(gap_s=round(time.monotonic() - began, 3))


class Reload(Swap):
    """The engine reads the weights of the version in place.

    Without prompts to ask first, requests wait in the engine itself, which is quicker than at the gateway.
    """

    def run(self) -> None:
        """The engine has read the version's weights, and gives a token."""
        if self.trial.prompts:
            self.close_port()
        bind(self.service, self.trial.folder)
        began = time.monotonic()
        control_api.reload_weights(self.service)
        self.measured_gap(began)
        check_token(self.service)

    def go_back(self, was_bound: bool) -> None:
        """The engine has read the old weights again, or was started anew: its unit comes up with them."""
        try:
            bind(self.service, self.trial.before)
            control_api.reload_weights(self.service)
            check_token(self.service)
        except HelperError:
            front.out(self.service, mark=True)
            super().go_back(was_bound)


class SleepSwap(Swap):
    """A `Swap` that keeps the engine which served, asleep, until the new one is confirmed."""

    def run(self) -> None:
        """The engine which served sleeps, and another one has the version."""
        self.close_port()
        began = time.monotonic()
        sleep_swap.put_to_sleep(self.service)
        self.bind_and_restart(began)

    def go_back(self, was_bound: bool) -> None:
        """The engine that slept serves again; where it is lost, the unit is started anew."""
        front.out(self.service, mark=True)
        front.drained(self.service, self.trial.drain_s)
        try:
            sleep_swap.wake(self.service)
        except (HelperError, OSError) as error:
            print("%s has to be started anew: %s" % (self.service.name, error), flush=True)
            sleep_swap.give_up(self.service)
            super().go_back(was_bound)


class Surge(Swap):
    """A second engine with the version has the requests while the service's own is started anew with it: nobody
    waits.
    """

    starts = 2

    def run(self) -> None:
        """The service's own engine has the version, and the second one is gone."""
        service, trial = self.service, self.trial
        surge.start(service, trial.folder, trial.ready_s)
        check_prompts(service.second, trial)
        self.timing = Timing(drained_s=round(surge.shift(service, True, trial.drain_s), 3))
        trial_record.bind_trial(service, trial)
        restart(service, trial.ready_s, trial.drain_s)
        surge.shift(service, False, trial.drain_s)
        surge.stop(service)
        self.timing = self.timing._replace(gap_s=0.0)

    def go_back(self, was_bound: bool) -> None:
        """The service's own engine has its version again, and the second one is gone."""
        if was_bound:
            super().go_back(was_bound)
        front.route(self.service, self.service, self.service.second)
        front.drained(self.service.second, self.trial.drain_s)
        surge.stop(self.service)


STRATEGIES: dict[Strategy, type[Swap]] = {
    Strategy.RELOAD: Reload,
    Strategy.SLEEP_SWAP: SleepSwap,
    Strategy.SURGE: Surge,
    Strategy.SWAP: Swap,
}
