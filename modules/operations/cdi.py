"""The CDI description of a host's GPUs: made by one party, of the driver and the GPUs that are there."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Effect
from steelyard.modules.facts.cdi import FIXED, RUNTIME, Cdi, CdiState
from steelyard.modules.facts.driver import Driver, DriverState
from steelyard.modules.facts.helper import helper_fact
from steelyard_host.wire.hardware import GpuHealth

REFRESH = "nvidia-cdi-refresh.service"


def to_describe(driver: DriverState, health: GpuHealth | None) -> int:
    """The number of devices that a description has: each GPU, and each instance instead of a GPU in MIG mode."""
    cut = [device for device in (health.devices if health is not None else ()) if device.mig and device.mig.current]
    instances = sum(bool(instance.uuid) for device in cut for instance in device.mig_layout or ())
    return len(driver.gpus) - len(cut) + instances


def staleness(current: CdiState, driver: DriverState, devices: int) -> str | None:
    """The reason why the description is not of this host as it is; None where it is."""
    spec = current.spec(RUNTIME)
    if spec is None:
        return "missing"
    if spec.missing:
        return f"names {len(spec.missing)} files that are gone, such as {spec.missing[0]}"
    if driver.loaded and spec.versions and spec.versions != (driver.loaded,):
        return f"of driver {', '.join(spec.versions)}, and {driver.loaded} is loaded"
    if spec.devices != devices:
        return f"has {spec.devices} GPUs and instances, and the host has {devices}"
    return None


@operation()
def described(unit: str) -> Generator[StringCommand, None, None]:
    """The description in /var/run is fresh; `unit` makes it.

    One made by hand in /etc goes stale at every upgrade, so it is removed.
    """
    current, driver = host.get_fact(Cdi), host.get_fact(Driver)
    if current.spec(FIXED) is not None:
        yield Change(
            "rm -f",
            FIXED,
            subject=FIXED,
            declared=f"absent: {RUNTIME} is kept fresh",
            live="a description made by hand",
            effect=Effect.REMOVAL,
        )
    if not driver.loaded or not driver.gpus:
        return  # nothing to describe before the module is loaded
    devices = to_describe(driver, helper_fact(host, GpuHealth, "gpu-health"))
    reason = staleness(current, driver, devices)
    if reason is not None:
        name = QuoteString(unit)
        log = StringCommand("journalctl --no-pager -o cat -n 15 -u", name, ">&2")
        yield Change(
            "mkdir -p /var/run/cdi && systemctl restart",
            name,
            "|| {",
            log,
            "; exit 1; }",
            subject=RUNTIME,
            declared=f"of driver {driver.loaded} and {devices} GPUs and instances",
            live=reason,
        )


@operation()
def char_links() -> Generator[StringCommand, None, None]:
    """/dev/char has a link for every GPU's device: without, older containers lose it at a daemon-reload."""
    if not host.get_fact(Cdi).char_links:
        link = "nvidia-ctk system create-dev-char-symlinks --create-all"
        yield Change(link, subject="/dev/char", declared="a link per GPU device", live="missing")
