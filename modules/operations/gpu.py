"""Settings of GPUs in the running driver; the unit that repeats them at boot is the role's file."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Refusal
from steelyard.artifacts.helper import RUN_HELPER
from steelyard.modules.facts.helper import helper_fact
from steelyard.modules.facts.path import Path
from steelyard_host.paths import STATE
from steelyard_host.wire.hardware import GpuDevice, GpuHealth

MODES = ("default", "exclusive-thread", "prohibited", "exclusive-process")


def live_settings(device: GpuDevice) -> dict[str, str]:
    """The settings that a GPU has now, in the helper's words; what it does not say is left out.

    ECC and MIG are as after the next reboot.
    """
    values = {
        "persistence": device.persistence,
        "power_limit": round(device.power_limit_w) if device.power_limit_w is not None else None,
        "compute_mode": MODES.index(device.compute_mode) if device.compute_mode else None,
        "ecc": device.ecc.pending if device.ecc else None,
        "mig": device.mig.pending if device.mig else None,
    }
    settings = {key: str(int(value)) for key, value in values.items() if value is not None}
    if device.mig:
        settings["mig_layout"] = ",".join(instance.profile for instance in device.mig_layout or ())
    return settings


def settings_for(wanted: dict[str, str], device: GpuDevice) -> dict[str, str]:
    """The settings that are for this GPU: `NAME.INDEX` is for one.

    A layout waits for the mode, which may need a reboot.
    """
    settings = {}
    for word, value in wanted.items():
        name, _, number = word.partition(".")
        if not number or int(number) == device.index:
            settings[name] = value
    if "mig_layout" in settings and device.mig and device.mig.pending and not device.mig.current:
        del settings["mig_layout"]  # the unit of the settings makes it at that boot
    return settings


def _same(name: str, live: str, value: str) -> bool:
    return sorted(live.split(",")) == sorted(value.split(",")) if name == "mig_layout" else live == value


def setting_command(wanted: dict[str, str], device: GpuDevice) -> StringCommand | None:
    """The command that sets what differs of one GPU, or None. Raises ValueError where the GPU cannot have it."""
    live, wanted = live_settings(device), settings_for(wanted, device)
    limits = device.power_range_w
    if "power_limit" in wanted and limits and not limits[0] <= float(wanted["power_limit"]) <= limits[1]:
        raise ValueError(f"GPU {device.index} takes a power limit of {limits[0]:g} to {limits[1]:g} W")
    wrong = {key: value for key, value in wanted.items() if key in live and not _same(key, live[key], value)}
    lacking = [key for key in wanted if key not in live and key != "clocks"]  # locked clocks cannot be read
    if lacking:
        raise ValueError(f"GPU {device.index} has no {', '.join(lacking)} to set")
    if not wrong:
        return None
    if {"mig", "mig_layout"} & {*wrong} and device.processes:
        pids = ", ".join(str(pid) for pid in device.processes)
        raise ValueError(
            f"GPU {device.index} is in use by process {pids}, and MIG changes on an idle GPU: stop it first"
        )
    argv = [QuoteString(f"{key}={value}") for key, value in wrong.items()]
    declared = ", ".join(f"{key} {value}" for key, value in wrong.items())
    shown = ", ".join(f"{key} {live[key] or 'none'}" for key in wrong)
    return Change(
        RUN_HELPER,
        "gpu-settings --gpu",
        str(device.index),
        *argv,
        subject=f"GPU {device.index}",
        declared=declared,
        live=shown,
    )


@operation()
def settled(wanted: dict[str, str]) -> Generator[StringCommand, None, None]:
    """Every GPU that answers has these settings now, or will after its next reboot (ECC, MIG)."""
    health = helper_fact(host, GpuHealth, "gpu-health")
    for device in health.devices if health is not None else ():
        if not device.answers:
            continue
        try:
            command = setting_command(wanted, device)
        except ValueError as error:
            yield Refusal(str(error))
            return
        if command is not None:
            yield command


@operation()
def burned_in(version: str) -> Generator[StringCommand, None, None]:
    """DCGM's diagnosis of level 2 was passed once under this driver version; its record is on the host."""
    record = f"{STATE}/burn-in-{version}"
    if host.get_fact(Path, path=record).kind == "file":
        return
    tried = f"mkdir -p {STATE} && dcgmi diag -r 2 >{record}.log && sync {record}.log && mv {record}.log {record}"
    complain = f"{{ tail -n 15 {record}.log >&2; exit 1; }}"
    yield Change(
        tried,
        "||",
        complain,
        subject="burn-in",
        declared=f"dcgmi diag -r 2 passed under {version}",
        live="not done yet",
    )
