"""Services that are declared no more: stopped when the gateways send them nothing, or before what needs their place."""

from __future__ import annotations

from pyinfra.context import host

from steelyard.api import live_check
from steelyard.api.finding import Severity
from steelyard.api.pruning import is_pruning
from steelyard.modules.operations.removal import forgotten, leavings_removed, makes_room, remains
from steelyard.site.site import Service


def units_of(services: tuple[Service, ...]) -> tuple[str, ...]:
    return tuple(service.unit for service in services)


def front_waits(services: tuple[Service, ...]) -> bool:
    """Whether the proxy keeps its ports until the gateways know: something is to stop, and nothing needs its place.

    A look at the host at the moment of the plan: whatever it decides, the proxy is configured once in a run.
    """
    left = remains(units_of(services))
    return any(service.is_set_up for service in left.services) and not makes_room(left)


def make_room(services: tuple[Service, ...]) -> None:
    """Stop now what stands in the way of what is new here."""
    forgotten(name="Stop what is declared no more", units=units_of(services), making_room=True)


def stop_rest(services: tuple[Service, ...]) -> None:
    """Stop the others, and clear or tell what they leave."""
    units = units_of(services)
    forgotten(name="Stop what is declared no more", units=units, making_room=False)
    if is_pruning():
        leavings_removed(name="Remove what services left behind", units=units)
    elif live_check.is_enabled():
        _report_leavings(units)


def _report_leavings(units: tuple[str, ...]) -> None:
    for service in remains(units).services:
        if service.kept and not service.is_set_up:
            where = ", ".join(service.kept[:2]) + (" and more" if len(service.kept) > 2 else "")
            live_check.report(
                "vllm.left-behind",
                f"what service {service.name} left",
                "no service of this host",
                f"{service.kept_bytes >> 20} MiB in {where}",
                f"`steelyard apply --prune -l {host.name}` removes it, or declare the service again",
                Severity.WARNING,
            )
