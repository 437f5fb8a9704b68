"""systemd units as declared: enabled, active, started with the configuration that is declared now."""

from __future__ import annotations

from collections.abc import Callable, Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Effect, Reason
from steelyard.api.finding import thing
from steelyard.api.foreseen import foreseen
from steelyard.api.turn import Return
from steelyard.artifacts.helper import RUN_HELPER
from steelyard.modules.facts.docker import GpuContainers
from steelyard.modules.facts.unit import Unit, UnitState
from steelyard.modules.facts.web import WebAnswer
from steelyard_host.engine.service import is_engine
from steelyard_host.wire.services import ServiceState

from .progress import start_progress

RUNNING = (ServiceState.ACTIVE, ServiceState.RELOADING)


def start_words(verb: str, unit: str) -> list[str | QuoteString | StringCommand]:
    """Return the words that start or restart a unit; where that fails, its last log lines are the error, and of an
    engine's unit the cause behind them.
    """
    name = QuoteString(unit)
    log = StringCommand("journalctl --no-pager -o cat -n 15 -u", name, ">&2")
    progress = start_progress(unit) if is_engine(unit) else ()
    if is_engine(unit):
        log = StringCommand(RUN_HELPER, "cause", name, "||", log)
    return [
        "systemctl reset-failed",
        name,
        "2>/dev/null;",
        *progress,
        "systemctl",
        verb,
        name,
        "|| {",
        log,
        "; exit 1; }",
    ]


def restart_command(unit: str, declared: str, live: str, outage_s: float | None = None) -> Change:
    """End what serves, and start it again. `outage_s`: seconds that clients wait; None where nobody knows."""
    what: Reason = {"subject": unit, "declared": declared, "live": live}
    return Change(*start_words("restart", unit), **what, effect=Effect.RESTART, outage_s=outage_s)


def return_command(unit: str, live: str, as_declared: bool = False, depends_on: tuple[str, ...] = ()) -> Return:
    """Start what does not serve. `as_declared`: one that starts is as declared, and is waited for; else it starts
    anew. `depends_on`: as of `Change`.
    """
    verb = "restart" if live == ServiceState.ACTIVATING and not as_declared else "start"
    what: Reason = {"subject": unit, "declared": "active", "live": live}
    return Return(*start_words(verb, unit), **what, depends_on=depends_on)


def masked_command(unit: str, live: str) -> Change:
    """Start what somebody masked, which fails: by hand and on purpose it was done, and so it is undone."""
    fix = f"`systemctl unmask {unit}` there, if nobody needs it masked any more; then `steelyard apply`"
    what: Reason = {"subject": unit, "declared": "active", "live": f"masked, {live}"}
    return Change(*start_words("start", unit), **what, fix=fix)


def gpu_risk() -> str:
    """Running containers that lose their GPUs by a daemon-reload, in words for the plan; asked only where one is
    due.
    """
    names = [container.name for container in host.get_fact(GpuContainers, look=False) if container.at_risk]
    return f"; takes the GPUs away from {', '.join(names)}: recreate them with CDI" if names else ""


def reload_due(files: tuple[str, ...], current: UnitState) -> bool:
    """Whether systemd has not read what lies on disk: it does not notice a new drop-in folder by itself."""
    return current.needs_reload or current.load == "not-found" or not set(files) <= set(current.files)


def reload_command(unit: str, risk: str) -> StringCommand:
    return Change(
        "systemctl daemon-reload",
        subject=unit,
        declared="its unit file as written",
        live="an older one loaded" + risk,
        effect=Effect.STOP if risk else Effect.CHANGE,  # of containers that nobody starts again
    )


Restart = Callable[[str, str], StringCommand]  # what is declared, and what is live


def running_commands(
    unit: str,
    config: str | None,
    mounted: str | None,
    current: UnitState,
    restart: Restart | None = None,
    depends_on: tuple[str, ...] = (),
) -> list[StringCommand]:
    """Commands from the live unit to an enabled and active one; a restart only where it runs on something older.

    `depends_on`: things without which it does not run, as of `Change`.
    """
    if current.load == "masked":
        return [masked_command(unit, current.active)]
    commands: list[StringCommand] = []
    restarted = restart or (lambda declared, live: restart_command(unit, declared, live))
    if current.enabled not in ("enabled", "static", "enabled-runtime", "alias", "indirect", "generated"):
        commands.append(
            Change(
                "systemctl enable --quiet", QuoteString(unit), subject=unit, declared="enabled", live=current.enabled
            )
        )
    of_config = config is None or current.config == config
    of_mount = mounted is None or current.mounted == mounted
    if current.active not in RUNNING:
        commands.append(return_command(unit, current.active, of_config and of_mount, depends_on))
    elif not of_config:
        commands.append(restarted("started with the declared configuration", "started with another"))
    elif not of_mount:
        commands.append(restarted(f"serving {mounted}", f"serving {current.mounted}"))
    return commands


@foreseen
@operation()
def running(
    unit: str,
    config: str | None = None,
    mount: str = "",
    mounted: str | None = None,
    files: tuple[str, ...] = (),
    depends_on: tuple[str, ...] = (),
) -> Generator[StringCommand, None, None]:
    """The unit is enabled and active. `config` is what STEELYARD_CONFIG must be in its process; `mounted` is what the
    process must see at `mount`; `files` are unit file and drop-ins that must be loaded. `depends_on`: subjects of this
    host without which it does not run: where one of them is wrong, that is told and not this."""
    current = host.get_fact(Unit, unit=unit, mount=mount, wanted=mounted or "")
    is_due = current.load != "masked" and reload_due(files, current)
    commands = [reload_command(unit, gpu_risk())] if is_due else []
    needs = tuple(thing(host.name, subject) for subject in depends_on)
    commands += running_commands(unit, config, mounted, current, depends_on=needs)
    if not commands:
        host.noop(f"{unit} runs as declared")
    yield from commands


def on_demand_commands(
    service: str, unit: str, config: str, mounted: str, drain_s: int, current: UnitState
) -> list[StringCommand]:
    """Commands until the next request starts the unit as declared; one that runs so already is left alone."""
    serves = current.active in RUNNING
    effect, outage_s = (Effect.RESTART, None) if serves else (Effect.CHANGE, 0.0)
    name = QuoteString(unit)
    rest = (RUN_HELPER, "lazy-rest", QuoteString(service), str(drain_s))
    if current.enabled == "enabled":  # it was one that always runs
        disable = Change(
            "systemctl disable --quiet", name, subject=unit, declared="started by requests", live="started at boot"
        )
        return [
            disable,
            Change(
                *rest,
                subject=unit,
                declared="started by requests",
                live=current.active,
                effect=effect,
                outage_s=outage_s,
            ),
        ]
    if current.active == ServiceState.FAILED:
        return [Change(*rest, subject=unit, declared="started by requests", live="given up")]
    if current.active not in RUNNING:
        return []
    if current.config != config:
        live = "started with another"
        return [
            Change(
                *rest,
                subject=unit,
                declared="started with the declared configuration",
                live=live,
                effect=effect,
                outage_s=outage_s,
            )
        ]
    if current.mounted != mounted:
        live = f"serving {current.mounted}"
        return [Change(*rest, subject=unit, declared=f"serving {mounted}", live=live, effect=effect, outage_s=outage_s)]
    return []


@foreseen
@operation()
def on_demand(
    service: str, unit: str, config: str, mount: str, mounted: str, files: tuple[str, ...], drain_s: int
) -> Generator[StringCommand, None, None]:
    """The unit of a lazy service is started by whoever needs it, and as declared. Arguments as of `running`."""
    current = host.get_fact(Unit, unit=unit, mount=mount, wanted=mounted)
    commands = [reload_command(unit, gpu_risk())] if reload_due(files, current) else []
    commands += on_demand_commands(service, unit, config, mounted, drain_s, current)
    if not commands:
        host.noop(f"{unit} starts as declared")
    yield from commands


@foreseen
@operation()
def loaded(unit: str, files: tuple[str, ...] = ()) -> Generator[StringCommand, None, None]:
    """systemd has read the unit's file as it lies on disk: for one that something else starts, a timer for example."""
    current = host.get_fact(Unit, unit=unit, mount="")
    if reload_due(files, current):
        yield reload_command(unit, gpu_risk())
    else:
        host.noop(f"{unit} is loaded as written")


@foreseen
@operation()
def answering(unit: str, url: str, answer: str) -> Generator[StringCommand, None, None]:
    """The unit's web server answers `answer` at `url`: it has loaded the configuration that says so; else it
    reloads.
    """
    current = host.get_fact(WebAnswer, url=url)
    if current != answer:
        live = "another or none" if current else "no answer"
        name = QuoteString(unit)
        yield Change(
            "systemctl reload-or-restart", name, subject=unit, declared=f"configuration {answer} loaded", live=live
        )


@foreseen
@operation()
def stopped(unit: str) -> Generator[StringCommand, None, None]:
    """The unit neither runs nor starts at boot; a unit that does not exist is that already."""
    current = host.get_fact(Unit, unit=unit, mount="")
    if current.load == "loaded" and (
        current.active in (ServiceState.ACTIVE, ServiceState.ACTIVATING) or current.enabled == "enabled"
    ):
        what: Reason = {"subject": unit, "declared": "stopped", "live": current.active}
        effect = Effect.STOP if current.active == ServiceState.ACTIVE else Effect.CHANGE
        yield Change("systemctl disable --now --quiet", QuoteString(unit), **what, effect=effect)
