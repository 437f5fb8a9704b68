"""The tables of `status` and `lab status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from steelyard.errors.visible import one_line
from steelyard_host.wire.services import ServiceState

from .width import columns

if TYPE_CHECKING:
    from steelyard.dify.console import ListedModel
    from steelyard.errors import SteelyardError
    from steelyard.inventory.fleet import Fleet, FleetHost
    from steelyard.lab.fleet import LabHostStatus
    from steelyard_host.wire.services import HostStatus, Start

Statuses = Mapping[str, "HostStatus | None"]  # by host; None: the helper is not installed there
INNER = ("all", "ungrouped")


class SafeTable(Table):
    """A table whose cells are text, whoever wrote it: nothing in them moves a cursor."""

    def add_row(self, *cells: Any, **given: Any) -> None:
        super().add_row(*(one_line(cell) if isinstance(cell, str) else cell for cell in cells), **given)

    def keep_words(self, width: int) -> None:
        """Give names the room to stay whole, if there is any: where a table is too wide, sentences give way."""
        longest = [
            max((columns(word) for cell in (column.header, *column.cells) for word in str(cell).split()), default=0)
            for column in self.columns
        ]
        if sum(longest) + 2 * (len(longest) - 1) <= width:
            for column, least in zip(self.columns, longest, strict=True):
                column.min_width = least


def made_table(*heads: str) -> Table:
    """An empty table with these columns."""
    table = SafeTable(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def host_table(
    fleet: Fleet, statuses: Statuses, errors: Mapping[str, SteelyardError], worst_first: bool = False
) -> Table:
    """One line a host that was asked; `statuses` of those that answered, by host, `errors` of the others."""

    def weight(host: FleetHost) -> int:
        return 0 if host.name in errors else 1 if statuses.get(host.name) is None else 2

    table = made_table("HOST", "ADDRESS", "GROUPS", "STATE", "GPUS", "SERVICES")
    for host in sorted(fleet.hosts, key=weight) if worst_first else fleet.hosts:
        if host.name not in statuses and host.name not in errors:
            continue
        status = statuses.get(host.name)
        state = "ok" if status is not None else "not provisioned"
        if host.name in errors:
            state = errors[host.name].sentence.format(**vars(errors[host.name]))
        groups = ", ".join(group for group in host.groups if group not in INNER)
        gpus = str(len(devices_of(status)) or "-") if status is not None else "-"
        services = str(len(status.services) or "-") if status is not None else "-"
        table.add_row(host.name, host.address, groups, state, gpus, services)
    return table


def devices_of(status: HostStatus) -> list[dict[str, Any]]:
    """The host's GPUs as NVML gives them."""
    devices: Any = status.gpus.get("devices", [])
    return list(devices)


def gpu_table(statuses: Statuses) -> Table | None:
    """One line a GPU; None where no host has one."""
    rows = [(host, status, device) for host, status in present(statuses) for device in devices_of(status)]
    if not rows:
        return None
    table = made_table("HOST", "GPU", "NAME", "MEMORY", "DRIVER")
    for host, status, device in rows:
        memory = f"{device['memory_bytes'] / 2**30:.0f} GiB" if "memory_bytes" in device else "-"
        name = device.get("name") or device.get("error", "-")
        table.add_row(host, str(device["index"]), name, memory, str(status.gpus.get("driver", "-")))
    return table


def cause_lines(statuses: Statuses) -> list[str]:
    """Lines below the table: why services do not run, or ran not before, each with its fix."""
    lines = []
    for host, status in present(statuses):
        for service in status.services:
            if service.cause is not None:
                before = "before it was started again: " if service.state is ServiceState.ACTIVE else ""
                lines += [
                    "",
                    f"{host}: {service.name}: {before}{service.cause.sentence}",
                    f"  fix: {service.cause.fix}",
                ]
    return lines


def present(statuses: Statuses) -> list[tuple[str, HostStatus]]:
    """Hosts with a helper, and their status."""
    return [(host, status) for host, status in statuses.items() if status is not None]


def started_in(start: Start | None) -> str:
    """Seconds from the process to its first token, and the phases that took a tenth of them or more."""
    if start is None:
        return "-"
    long = [phase for phase in start.phases if phase.seconds >= start.seconds / 10]
    shown = ", ".join(f"{phase.phase.replace('_', ' ')} {phase.seconds:.0f}" for phase in long)
    return f"{start.seconds:.0f} s ({shown})"


def lab_table(reports: Sequence[LabHostStatus]) -> Table:
    """One line a machine of the lab."""
    table = made_table("HOST", "ADDRESS", "GROUPS", "SSH", "PROCESSES", "LAYER", "GPUS")
    for report in reports:
        ssh, groups = "answers" if report.answers else "silent", ", ".join(report.groups)
        rest = (str(report.processes), report.layer or "-", report.gpus or "-")
        table.add_row(report.name, report.address, groups, ssh, *rest)
    return table


def dify_table(models: Sequence[ListedModel], by_hand: Sequence[str]) -> Table:
    """One line a model of Dify; `by_hand`: `TYPE NAME` of those that nobody declared."""
    table = made_table("MODEL", "TYPE", "LABEL", "STATUS", "CONTEXT", "REGISTERED")
    for model in models:
        size = str(model["model_properties"].get("context_size", "-"))
        by = "by hand" if f"{model['model_type']} {model['model']}" in by_hand else "as declared"
        table.add_row(model["model"], model["model_type"], model["label"]["en_US"], model["status"], size, by)
    return table
