"""Findings of drift beside the tasks: hosts that left the inventory, and what gateways know of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steelyard.api.finding import Finding, Severity, Verdict
from steelyard.api.host_error import HostError
from steelyard.events import Emit
from steelyard.inventory.fleet import Fleet
from steelyard.modules.connectors.helper_call import call_helper
from steelyard.roles.gateway.config import SOCKET
from steelyard.site.resolve import site_of
from steelyard.site.site import Service, backend_name
from steelyard_host.wire.services import ProxyState

from .run_context import RunOptions, open_fleet_session
from .site_hosts import undeclared_findings

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.engine.plan import Plan

CODE = "gateway.knows-the-service"


def findings_beside(options: RunOptions, fleet: Fleet, plan: Plan, emit: Emit) -> list[Finding]:
    """Findings of the whole site that the looked at hosts' roles cannot have."""
    names = {host.host for host in plan.hosts}
    subjects = {check.subject for host in plan.hosts for check in host.checks}
    findings = undeclared_findings(fleet, subjects) if fleet.hosts[0].name in names else []
    gateways = tuple(name for name in fleet.groups.get("gateway", ()) if name not in names)
    services = [service for service in site_of(fleet).services if service.host in names and service.alias is not None]
    return findings + (_seen_by(gateways, services, options, fleet, emit) if gateways and services else [])


def _seen_by(
    gateways: tuple[str, ...], services: list[Service], options: RunOptions, fleet: Fleet, emit: Emit
) -> list[Finding]:
    """A finding for each service that a gateway beside the selected hosts does not know, or sees down."""
    answers: dict[str, ProxyState] = {}

    def ask(gateway: Host) -> None:
        try:
            answers[gateway.name] = call_helper(gateway, ProxyState, "haproxy", SOCKET) or ProxyState(None)
        except HostError as problem:
            answers[gateway.name] = ProxyState(None, error=problem.error.sentence.format(**vars(problem.error)))

    with open_fleet_session(fleet, gateways, None, emit) as session:
        session.each(ask)
        silent = {name: error.sentence.format(**vars(error)) for name, error in session.errors.items()}
    findings = []
    for gateway in gateways:
        state = answers.get(gateway)
        for service in services:
            subject = f"{service.alias} at gateway {gateway}"
            fix = f"`steelyard apply -l {service.host} --with-gateway`"
            if state is None or state.config is None:
                why = silent.get(gateway) or (state.error if state is not None else None) or "it does not answer"
                live, verdict = f"not looked at: {why}", Verdict.UNKNOWN
                fix = f"see that {gateway} answers, then `steelyard drift -l {service.host} --with-gateway`"
            else:
                server = f"{backend_name(service.alias or service.name)}/{service.host}"
                status = state.servers.get(server)
                if status is not None and status.startswith("UP"):
                    continue
                live = "not known there: it is sent nothing" if status is None else f"known, and seen {status}"
                verdict = Verdict.DIFFERS
            declared = "known, and sent requests"
            findings.append(Finding(service.host, CODE, subject, declared, live, fix, verdict, Severity.ERROR))
    return findings
