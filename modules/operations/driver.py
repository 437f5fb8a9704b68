"""The NVIDIA driver that runs: loaded, reloaded, or brought by a reboot, with services drained first and proven after.

Order of the reload: NVIDIA's own gpu-driver-container, `_unload_driver`. Nothing is unloaded while something uses it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pyinfra.api.command import FunctionCommand, QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from steelyard.api.change import Change, Effect, Reason, Refusal
from steelyard.api.host_report import report_of
from steelyard.errors import SteelyardError
from steelyard.hardware.gpu_health import gpu_problems
from steelyard.modules.connectors.reboot import reboot
from steelyard.modules.facts.driver import Driver, DriverState, StaleInitramfs
from steelyard.modules.facts.helper import helper_fact
from steelyard_host.wire.hardware import GpuHealth

from .apt import matches

HOLDERS = (
    "nvidia-persistenced",
    "nvidia-fabricmanager",
    "nvidia-dcgm",
    "nvidia-dcgm-exporter",
    "nvlsm",
    "nvidia-topologyd",
    "nvidia-gridd",
)
MODULES = "nvidia-drm nvidia-modeset nvidia-uvm nvidia-peermem nvidia"


class Reboot(FunctionCommand):
    """Reboots the host and waits for it."""

    def __init__(self, seconds: float, declared: str, live: str) -> None:
        super().__init__(self._run, [], {})
        self.seconds = seconds
        self.subject, self.declared, self.live = "reboot", declared, live
        self.effect, self.outage_s = Effect.RESTART, None

    def _run(self, state: State, host: Host) -> bool:
        try:
            reboot(host, self.seconds)
        except SteelyardError as error:
            report_of(state, host).error = error
            return False
        return True


def drain(units: tuple[str, ...], declared: str, live: str) -> StringCommand:
    """Stops services as their units say; what the gateway checks goes away before what answers."""
    what: Reason = {"subject": "services on GPUs", "declared": f"drained, for {declared}", "live": live}
    names = [QuoteString(unit) for unit in units]
    return Change("systemctl stop", *names, **what, effect=Effect.RESTART, outage_s=None)


def rejoin(units: tuple[str, ...], declared: str) -> StringCommand:
    """Starts again what is enabled of them."""
    names = [QuoteString(unit) for unit in units]
    listed = StringCommand("systemctl list-unit-files --state=enabled --no-legend", *names, "| cut -d' ' -f1")
    return Change(
        "for u in $(",
        listed,
        '); do systemctl start --no-block "$u"; done',
        subject="services on GPUs",
        declared="back",
        live=f"drained, for {declared}",
    )


def reload_script(units: tuple[str, ...]) -> str:
    """Drain, unload, load; what ran before runs again, whether that went well or not. Exit 1 where it did not.

    rmmod itself refuses a module that somebody uses: then the old one stays, and so do its users.
    """
    stopped = " ".join([*(f"{name}.service" for name in HOLDERS), *(f"'{unit}'" for unit in units)])
    return (
        f"on=$(systemctl list-units --state=active,activating --plain --no-legend --full {stopped} | cut -d' ' -f1);"
        ' test -z "$on" || systemctl stop $on;'
        f" for m in {MODULES}; do test -d /sys/module/$(echo $m | tr - _) || continue; rmmod $m || {{ "
        f"rc=1; break; }}; done;"
        ' modprobe nvidia && modprobe nvidia-uvm || rc=1; for s in $on; do systemctl start "$s" || rc=1; '
        "done; exit ${rc:-0}"
    )


def activation(version: str, restart: str, units: tuple[str, ...], wait_s: float, current: DriverState) -> list[Any]:
    """Return the commands from the module that is loaded to the declared one. Without a GPU nothing is loaded, and
    nothing is tried.
    """
    if not current.gpus or (current.loaded and matches(f"{current.loaded}-", version)) or current.on_disk is None:
        return []
    declared, live = f"{version} loaded", f"{current.loaded} loaded" if current.loaded else "not loaded"
    if current.loaded is None and not current.nouveau:
        load = "modprobe nvidia && modprobe nvidia-uvm"
        return [Change(load, subject="NVIDIA kernel modules", declared=declared, live=live)]
    if current.nouveau:
        live += ", nouveau has the GPUs"
    if restart == "never":
        return []  # the role says so as a finding, and a person reboots
    if restart == "reload" and not current.nouveau:
        live += f"; stops and starts {', '.join(units)}" if units else ""
        live += f"; used by {', '.join(current.users)}" if current.users else ""
        script = QuoteString(reload_script(units))
        what: Reason = {"subject": "NVIDIA kernel modules", "declared": declared, "live": live}
        return [Change("sh -c", script, **what, effect=Effect.RESTART, outage_s=None)]
    if restart == "reload":
        return [
            Refusal(
                f"{live}: only a reboot brings {version}; declare `nvidia_driver.restart: reboot`, or "
                f"reboot it yourself"
            )
        ]
    return [drain(units, declared, live), Reboot(wait_s, declared, live), rejoin(units, declared)]


@operation()
def active(version: str, restart: str, units: tuple[str, ...], wait_s: float) -> Generator[Any, None, None]:
    """The loaded kernel module is the declared one. `restart` is never, reload or reboot: how far it may go for
    that.
    """
    current = host.get_fact(Driver)
    commands = activation(version, restart, units, wait_s, current)
    if not commands:
        host.noop(f"module {current.loaded or 'not loaded'}, declared {version}")
    yield from commands


@operation()
def admitted(gpus: int | None) -> Generator[StringCommand, None, None]:
    """The gate before services: a host whose GPUs have a problem that halts is refused, with the first of them and its
    fix.
    """
    health = helper_fact(host, GpuHealth, "gpu-health")
    if health is None:
        host.noop("not known before the helper is there")
        return
    halting = [problem for problem in gpu_problems(health, gpus) if problem.halts]
    if halting:
        first = halting[0]
        more = f" (and {len(halting) - 1} more: `steelyard doctor --hosts`)" if len(halting) > 1 else ""
        yield Refusal(f"GPU gate: {first.subject}: declared {first.declared}, live {first.live}; {first.fix}{more}")


@operation()
def initramfs(file: str, rebuild: str) -> Generator[StringCommand, None, None]:
    """Every initial RAM disk is newer than `file`; else nouveau takes the GPUs at the next boot."""
    stale = host.get_fact(StaleInitramfs, file=file)
    if stale:
        yield Change(
            rebuild, subject="initial RAM disks", declared=f"made after {file}", live=f"older: {', '.join(stale)}"
        )


@operation()
def bootable(
    secure_boot: bool, key_enrolled: bool | None, flavour_problem: str
) -> Generator[StringCommand, None, None]:
    """Says no where the module could not be loaded whatever is installed; changes nothing."""
    if flavour_problem:
        yield Refusal(flavour_problem)
    elif secure_boot and key_enrolled is not True:
        yield Refusal(
            "Secure Boot is on and DKMS's signing key is not enrolled: the module would be refused at "
            "load; enrol it at the "
            "console (`mokutil --import`, then MokManager at the next boot) or turn Secure Boot off; no SSH can do that"
        )
    else:
        host.noop("modules can be loaded")
