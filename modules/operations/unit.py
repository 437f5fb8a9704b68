"""systemd units as declared: enabled, active, started with the configuration that is declared now."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.change import Change
from steelyard.host_helper import RUN_HELPER
from steelyard.modules.facts.docker import GpuContainers
from steelyard.modules.facts.unit import Unit, UnitState
from steelyard.modules.facts.web import WebAnswer


def start_command(verb: str, unit: str, declared: str, live: str) -> StringCommand:
    """Start or restart; where that fails, the unit's last log lines are the error."""
    name = QuoteString(unit)
    log = StringCommand("journalctl --no-pager -o cat -n 15 -u", name, ">&2")
    bits = ["systemctl reset-failed", name, "2>/dev/null; systemctl", verb, name, "|| {", log, "; exit 1; }"]
    return Change(*bits, subject=unit, declared=declared, live=live)


def gpu_risk() -> str:
    """Running containers that lose their GPUs by a daemon-reload, in words for the plan; asked only where one is due."""
    names = [container.name for container in host.get_fact(GpuContainers, look=False) if container.at_risk]
    return f"; takes the GPUs away from {', '.join(names)}: recreate them with CDI" if names else ""


def reload_due(files: tuple[str, ...], now: UnitState) -> bool:
    """Whether systemd has not read what lies on disk: it does not notice a new drop-in folder by itself."""
    return now.needs_reload or now.load == "not-found" or not set(files) <= set(now.files)


def reload_command(unit: str, risk: str) -> StringCommand:
    return Change(
        "systemctl daemon-reload", subject=unit, declared="its unit file as written", live="an older one loaded" + risk
    )


def running_commands(unit: str, config: str | None, mounted: str | None, now: UnitState) -> list[StringCommand]:
    """Commands from the live unit to an enabled and active one; a restart only where it runs on something older."""
    commands: list[StringCommand] = []
    if now.enabled not in ("enabled", "static", "enabled-runtime", "alias", "indirect", "generated"):
        commands.append(
            Change("systemctl enable --quiet", QuoteString(unit), subject=unit, declared="enabled", live=now.enabled)
        )
    if now.active not in ("active", "reloading"):
        commands.append(start_command("start" if now.active != "activating" else "restart", unit, "active", now.active))
    elif config is not None and now.config != config:
        commands.append(start_command("restart", unit, "started with the declared configuration", "started with another"))
    elif mounted is not None and now.mounted != mounted:
        commands.append(start_command("restart", unit, f"serving {mounted}", f"serving {now.mounted}"))
    return commands


@operation()
def running(
    unit: str, config: str | None = None, mount: str = "", mounted: str | None = None, files: tuple[str, ...] = ()
) -> Generator[StringCommand, None, None]:
    """The unit is enabled and active. `config` is what STEELYARD_CONFIG must be in its process; `mounted` is what the
    process must see at `mount`; `files` are unit file and drop-ins that must be loaded."""
    now = host.get_fact(Unit, unit=unit, mount=mount, wanted=mounted or "")
    commands = [reload_command(unit, gpu_risk())] if reload_due(files, now) else []
    commands += running_commands(unit, config, mounted, now)
    if not commands:
        host.noop(f"{unit} runs as declared")
    yield from commands


def on_demand_commands(
    service: str, unit: str, config: str, mounted: str, drain_s: int, now: UnitState
) -> list[StringCommand]:  # fmt: skip
    """Commands until the next request starts the unit as declared; one that runs so already is left alone."""
    name = QuoteString(unit)
    rest = (RUN_HELPER, "lazy-rest", QuoteString(service), str(drain_s))
    if now.enabled == "enabled":  # it was one that always runs
        disable = Change(
            "systemctl disable --quiet", name, subject=unit, declared="started by requests", live="started at boot"
        )
        return [disable, Change(*rest, subject=unit, declared="started by requests", live=now.active)]
    if now.active == "failed":
        return [Change(*rest, subject=unit, declared="started by requests", live="given up")]
    if now.active not in ("active", "reloading"):
        return []
    if now.config != config:
        live = "started with another"
        return [Change(*rest, subject=unit, declared="started with the declared configuration", live=live)]
    if now.mounted != mounted:
        return [Change(*rest, subject=unit, declared=f"serving {mounted}", live=f"serving {now.mounted}")]
    return []


@operation()
def on_demand(
    service: str, unit: str, config: str, mount: str, mounted: str, files: tuple[str, ...], drain_s: int
) -> Generator[StringCommand, None, None]:
    """The unit of a lazy service is started by whoever needs it, and as declared. Arguments as of `running`."""
    now = host.get_fact(Unit, unit=unit, mount=mount, wanted=mounted)
    commands = [reload_command(unit, gpu_risk())] if reload_due(files, now) else []
    commands += on_demand_commands(service, unit, config, mounted, drain_s, now)
    if not commands:
        host.noop(f"{unit} starts as declared")
    yield from commands


@operation()
def loaded(unit: str, files: tuple[str, ...] = ()) -> Generator[StringCommand, None, None]:
    """systemd has read the unit's file as it lies on disk: for one that something else starts, a timer for example."""
    now = host.get_fact(Unit, unit=unit, mount="")
    if reload_due(files, now):
        yield reload_command(unit, gpu_risk())
    else:
        host.noop(f"{unit} is loaded as written")


@operation()
def answering(unit: str, url: str, answer: str) -> Generator[StringCommand, None, None]:
    """The unit's web server answers `answer` at `url`: it has loaded the configuration that says so; else it reloads."""
    now = host.get_fact(WebAnswer, url=url)
    if now != answer:
        live = "another or none" if now else "no answer"
        name = QuoteString(unit)
        yield Change("systemctl reload-or-restart", name, subject=unit, declared=f"configuration {answer} loaded", live=live)


@operation()
def stopped(unit: str) -> Generator[StringCommand, None, None]:
    """The unit neither runs nor starts at boot; a unit that does not exist is that already."""
    now = host.get_fact(Unit, unit=unit, mount="")
    if now.load == "loaded" and (now.active in ("active", "activating") or now.enabled == "enabled"):
        name = QuoteString(unit)
        yield Change("systemctl disable --now --quiet", name, subject=unit, declared="stopped", live=now.active)
