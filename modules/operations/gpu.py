"""Settings of GPUs in the running driver; the unit that repeats them at boot is the role's file."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.change import Change
from steelyard.host_helper import RUN_HELPER
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.modules.facts.path import Path
from steelyard.refusal import Refusal

MODES = ("default", "exclusive-thread", "prohibited", "exclusive-process")


def live_settings(device: dict[str, Any]) -> dict[str, str]:
    """What a GPU has now, in the helper's words; what it does not say is left out. ECC and MIG: as after the next reboot."""
    found = {
        "persistence": device["persistence"],
        "power_limit": round(device["power_limit_w"]) if device["power_limit_w"] is not None else None,
        "compute_mode": MODES.index(device["compute_mode"]) if device["compute_mode"] else None,
        "ecc": device["ecc"]["pending"] if device["ecc"] else None,
        "mig": device["mig"]["pending"] if device["mig"] else None,
    }
    settings = {key: str(int(value)) for key, value in found.items() if value is not None}
    if device["mig"]:
        settings["mig_layout"] = ",".join(instance["profile"] for instance in device.get("mig_layout") or ())
    return settings


def wanted_of(wanted: dict[str, str], device: dict[str, Any]) -> dict[str, str]:
    """What of it is for this GPU: `NAME.INDEX` is for one. A layout waits for the mode, which may need a reboot."""
    found = {}
    for word, value in wanted.items():
        name, _, number = word.partition(".")
        if not number or int(number) == device["index"]:
            found[name] = value
    mig = device["mig"]
    if "mig_layout" in found and mig and mig["pending"] and not mig["current"]:
        del found["mig_layout"]  # the unit of the settings makes it at that boot
    return found


def _same(name: str, live: str, value: str) -> bool:
    return sorted(live.split(",")) == sorted(value.split(",")) if name == "mig_layout" else live == value


def setting_command(wanted: dict[str, str], device: dict[str, Any]) -> StringCommand | None:
    """One command per GPU that differs. Raises ValueError where the GPU cannot have it."""
    live, wanted = live_settings(device), wanted_of(wanted, device)
    limits = device.get("power_range_w")
    if "power_limit" in wanted and limits and not limits[0] <= float(wanted["power_limit"]) <= limits[1]:
        raise ValueError(f"GPU {device['index']} takes a power limit of {limits[0]:g} to {limits[1]:g} W")
    wrong = {key: value for key, value in wanted.items() if key in live and not _same(key, live[key], value)}
    lacking = [key for key in wanted if key not in live and key != "clocks"]  # locked clocks cannot be read
    if lacking:
        raise ValueError(f"GPU {device['index']} has no {', '.join(lacking)} to set")
    if not wrong:
        return None
    if {"mig", "mig_layout"} & {*wrong} and device.get("processes"):
        pids = ", ".join(str(pid) for pid in device["processes"])
        raise ValueError(f"GPU {device['index']} is in use by process {pids}, and MIG changes on an idle GPU: stop it first")
    words = [QuoteString(f"{key}={value}") for key, value in wrong.items()]
    declared = ", ".join(f"{key} {value}" for key, value in wrong.items())
    shown = ", ".join(f"{key} {live[key] or 'none'}" for key in wrong)
    return Change(
        RUN_HELPER,
        "gpu-settings --gpu",
        str(device["index"]),
        *words,
        subject=f"GPU {device['index']}",
        declared=declared,
        live=shown,
    )


@operation()
def settled(wanted: dict[str, str]) -> Generator[StringCommand, None, None]:
    """Every GPU that answers has these settings now, or will after its next reboot (ECC, MIG)."""
    answer = host.get_fact(HelperAnswer, words=("gpu-health",))
    for device in (answer or {"devices": []})["devices"]:
        if device["error"] or device.get("asleep"):
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
    record = f"/var/lib/steelyard/burn-in-{version}"
    if host.get_fact(Path, path=record).kind == "file":
        return
    tried = f"mkdir -p /var/lib/steelyard && dcgmi diag -r 2 >{record}.log && mv {record}.log {record}"
    said = f"{{ tail -n 15 {record}.log >&2; exit 1; }}"
    yield Change(tried, "||", said, subject="burn-in", declared=f"dcgmi diag -r 2 passed under {version}", live="not done yet")
