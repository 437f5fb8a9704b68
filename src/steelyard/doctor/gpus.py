"""Findings about what hosts answered: their GPUs, and services that do not run. Pure; nothing is touched."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import TYPE_CHECKING, Any

from steelyard.api.finding import Finding, Severity, Verdict
from steelyard.errors import SteelyardError
from steelyard_host.wire.codec import WireError, from_json
from steelyard_host.wire.doctor import TroubledServices
from steelyard_host.wire.hardware import GpuHealth
from steelyard_host.wire.services import TroubledService

if TYPE_CHECKING:
    from steelyard.inventory.fleet import Fleet


Answers = Mapping[str, dict[str, Any] | None]  # what `doctor` answers, by host; None: it has no helper


def check_gpus(fleet: Fleet, answers: Answers, errors: Mapping[str, SteelyardError]) -> list[Finding]:
    """Findings about every GPU of the hosts that answered, and about those hosts that did not."""
    from steelyard.hardware.gpu_health import gpu_problems

    findings = [
        Finding(name, "doctor.host", name, "answers", str(error), error.remedy, Verdict.UNKNOWN)
        for name, error in errors.items()
    ]
    for host in fleet.in_group("gpu"):
        if host.name not in answers:
            continue
        answer = answers[host.name]
        if answer is None:
            findings.append(_helper(fleet, host.name, "installed", "missing"))
            continue
        declared = (host.variables.get("nvidia_driver") or {}).get("gpus")
        try:
            health = from_json(GpuHealth, answer)
        except WireError as error:
            findings.append(_helper(fleet, host.name, "of this release", f"its answer cannot be read: {error}"))
            continue
        for problem in gpu_problems(health, declared):
            severity = Severity.ERROR if problem.halts else Severity.WARNING
            code = f"doctor.gpu-{problem.check}"
            findings.append(
                Finding(
                    host.name,
                    code,
                    problem.subject,
                    problem.declared,
                    problem.live,
                    problem.fix,
                    Verdict.BROKEN,
                    severity,
                )
            )
    return findings


def _helper(fleet: Fleet, host: str, declared: str, live: str) -> Finding:
    fix = f"steelyard apply -i {quote(str(fleet.path))} -l {host} --deploy hosts"
    return Finding(host, "doctor.helper", "host helper", declared, live, fix, Verdict.UNKNOWN)


def check_services(fleet: Fleet, answers: Answers) -> list[Finding]:
    """Findings that say why services of the hosts that answered do not run, or came back; also where nothing can say
    it.
    """
    findings: list[Finding] = []
    for name, answer in answers.items():
        if answer is None:
            continue
        if "services" not in answer:
            live = "an older one, which does not say why services do not run"
            findings.append(_helper(fleet, name, "of this release", live))
            continue
        try:
            services = from_json(TroubledServices, answer).services
        except WireError as error:
            live = f"what it says of services cannot be read: {error}"
            findings.append(_helper(fleet, name, "of this release", live))
            continue
        findings += [_troubled(name, service) for service in services]
    return findings


def _troubled(host: str, service: TroubledService) -> Finding:
    cause = service.cause
    subject = f"service {service.name}"
    return Finding(host, "doctor.service", subject, "runs", cause.sentence, cause.fix, Verdict.BROKEN)
