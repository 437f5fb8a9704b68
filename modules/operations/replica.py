"""An engine that serves an alias, as declared: restarted so that nobody waits where that can be, and with the seconds
that clients wait where it cannot.

Where other replicas serve, the role has them take turns. One that is alone is started anew beside a second engine,
where its host has room for one.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Effect
from steelyard.api.finding import thing
from steelyard.artifacts.helper import RUN_HELPER
from steelyard.modules.facts.helper import helper_fact
from steelyard.modules.facts.unit import Unit
from steelyard_host.engine.service import HostService
from steelyard_host.wire.rollout import SwitchState

from .progress import start_progress
from .unit import Restart, gpu_risk, reload_command, reload_due, running_commands, start_words


class Replica(NamedTuple):
    """A service of a host. `others`: replicas of its alias on other hosts; `root` and `project`: where its versions
    lie; `ready_s` and `drain_s`: seconds to the first token, and to finish what runs.
    """

    service: str
    unit: str
    root: str
    project: str
    others: int
    ready_s: int
    drain_s: int


def beside_command(replica: Replica, folder: str, declared: str, live: str) -> Change:
    """Start the engine anew while a second one, started first, has its requests. Its own unit, so that a connection
    that breaks does not leave it half done.
    """
    second = HostService(replica.service, {}).second.name
    unit = replica.unit.replace(f"@{replica.service}.", f"@{second}.")
    own = ("systemd-run --quiet --collect --wait --pipe", QuoteString(f"--unit=steelyard-restart-{replica.service}"))
    argv = (QuoteString(replica.service), QuoteString(folder), str(replica.ready_s), str(replica.drain_s))
    bits = (*start_progress(unit), *own, RUN_HELPER, "surge-restart", *argv)
    return Change(
        *bits, subject=replica.unit, declared=f"{declared}, a second engine meanwhile", live=live, effect=Effect.RESTART
    )


def drained_restart(replica: Replica, declared: str, live: str, outage_s: float | None) -> Change:
    """Start the engine anew when it works on nothing any more.

    Its unit would drain it too, but systemd gives its files away before that, where the unit names another account now:
    so they are never taken from an engine that works.
    """
    drain = (RUN_HELPER, "drain", QuoteString(replica.service), str(replica.drain_s), ">/dev/null;")
    return Change(
        *drain,
        *start_words("restart", replica.unit),
        subject=replica.unit,
        declared=declared,
        live=live,
        effect=Effect.RESTART,
        outage_s=outage_s,
    )


def restart_of(replica: Replica, folder: str, state: SwitchState | None) -> Restart:
    """Return how the replica restarts. `state`: its host's word on it; None where there are others, or it says none."""

    def restart(declared: str, live: str) -> StringCommand:
        if replica.others:
            return drained_restart(replica, declared, live, 0.0)
        if state is not None and state.no_surge is None:
            return beside_command(replica, folder, declared, live)
        return drained_restart(replica, declared, live, state.start_s if state is not None else None)

    return restart


@operation()
def replica_running(
    replica: Replica,
    config: str,
    mount: str,
    mounted: str,
    files: tuple[str, ...],
    depends_on: tuple[str, ...] = (),
) -> Generator[StringCommand, None, None]:
    """The replica's unit is enabled and active, as `unit.running` has it; how it gets there is `restart_of`'s."""
    current = host.get_fact(Unit, unit=replica.unit, mount=mount, wanted=mounted)
    is_due = current.load != "masked" and reload_due(files, current)
    commands = [reload_command(replica.unit, gpu_risk())] if is_due else []

    def restart(declared: str, live: str) -> StringCommand:
        asked = ("switch-state", replica.root, replica.project, replica.service)
        state = None if replica.others else helper_fact(host, SwitchState, *asked)
        return restart_of(replica, mounted, state)(declared, live)

    needs = tuple(thing(host.name, subject) for subject in depends_on)
    commands += running_commands(replica.unit, config, mounted, current, restart, needs)
    if not commands:
        host.noop(f"{replica.unit} runs as declared")
    yield from commands
