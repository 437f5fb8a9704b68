"""The tables of `status` and `lab status`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from steelyard.errors import SteelyardError
    from steelyard.inventory.fleet import Fleet
    from steelyard.lab.fleet import HostReport

INNER = ("all", "ungrouped")


def made_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def host_table(fleet: Fleet, answers: dict[str, Any], errors: dict[str, SteelyardError]) -> Table:
    table = made_table("HOST", "ADDRESS", "GROUPS", "STATE", "GPUS", "SERVICES")
    for host in fleet.hosts:
        if host.name not in answers and host.name not in errors:
            continue
        answer = answers.get(host.name)
        state = "ok" if answer else "not provisioned"
        if host.name in errors:
            state = errors[host.name].sentence.format(**vars(errors[host.name]))
        groups = ", ".join(group for group in host.groups if group not in INNER)
        devices = (answer or {}).get("gpus", {}).get("devices", [])
        services = (answer or {}).get("services", [])
        table.add_row(host.name, host.address, groups, state, str(len(devices) or "-"), str(len(services) or "-"))
    return table


def gpu_table(answers: dict[str, Any]) -> Table | None:
    rows = [(host, answer["gpus"]) for host, answer in answers.items() if answer and answer["gpus"]["devices"]]
    if not rows:
        return None
    table = made_table("HOST", "GPU", "NAME", "MEMORY", "DRIVER")
    for host, gpus in rows:
        for device in gpus["devices"]:
            memory = f"{device['memory_bytes'] / 2**30:.0f} GiB" if "memory_bytes" in device else "-"
            name = device.get("name") or device.get("error", "-")
            table.add_row(host, str(device["index"]), name, memory, gpus.get("driver", "-"))
    return table


def service_table(answers: dict[str, Any]) -> Table | None:
    rows = [(host, service) for host, answer in answers.items() if answer for service in answer["services"]]
    if not rows:
        return None
    table = made_table("HOST", "SERVICE", "STATE", "SERVING", "RUNNING", "WAITING", "DONE", "RESTARTS", "STARTED IN")
    for host, service in rows:
        counts = service["requests"]
        shown = [
            f"{counts[name]:.0f}" if name in counts else "-"
            for name in ("num_requests_running", "num_requests_waiting", "request_success_total")
        ]
        asleep = service.get("load") == "lazy" and service["state"] == "inactive"
        state = "asleep" if asleep else f"{service['state']} ({service['detail']})"
        table.add_row(
            host,
            service["name"],
            state,
            serving(service),
            *shown,
            str(service["restarts"]),
            started_in(service.get("start")),
        )
    return table


def serving(service: dict[str, Any]) -> str:
    """What it serves; and where a rollout waits for somebody's word, what it tries."""
    trial = service.get("trial")
    tried = f"; {trial['folder'].rsplit('/', 1)[1]} on trial ({trial['state']})" if trial else ""
    return (service["mounted"] or "-") + tried


def started_in(start: dict[str, Any] | None) -> str:
    """Seconds from the process to its first token, and the phases that took a tenth of them or more."""
    if start is None:
        return "-"
    phases = [(entry["phase"].replace("_", " "), entry["seconds"]) for entry in start["phases"]]
    long = [f"{name} {seconds:.0f}" for name, seconds in phases if seconds >= start["seconds"] / 10]
    return f"{start['seconds']:.0f} s ({', '.join(long)})"


def lab_table(reports: Sequence[HostReport]) -> Table:
    table = made_table("HOST", "ADDRESS", "GROUPS", "SSH", "PROCESSES", "LAYER", "GPUS")
    for report in reports:
        answer = "answers" if report.answers else "silent"
        groups = ", ".join(report.groups)
        table.add_row(
            report.name, report.address, groups, answer, str(report.processes), report.layer or "-", report.gpus or "-"
        )
    return table


def dify_table(models: Sequence[dict[str, Any]], by_hand: Sequence[str]) -> Table:
    table = made_table("MODEL", "TYPE", "LABEL", "STATUS", "CONTEXT", "REGISTERED")
    for model in models:
        size = str(model["model_properties"].get("context_size", "-"))
        by = "by hand" if f"{model['model_type']} {model['model']}" in by_hand else "as declared"
        table.add_row(model["model"], model["model_type"], model["label"]["en_US"], model["status"], size, by)
    return table
