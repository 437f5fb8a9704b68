"""Checks of the controller itself, and of what hosts answered about their GPUs; pure look, nothing is touched."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.errors import SteelyardError
from steelyard.finding import Finding, Severity, Verdict

if TYPE_CHECKING:
    from steelyard.inventory.fleet import Fleet

HERE = "controller"
NEEDED = ("pyinfra", "ansible-core", "paramiko", "pydantic", "jinja2", "huggingface-hub", "nvidia-ml-py", "rich", "typer")


def check_controller(inventory: Path | None, vault_password_file: Path | None) -> list[Finding]:
    """Findings about Python, libraries, SSH, the inventory and the lab; none where all is well."""
    return sorted([*_python(), *_libraries(), *_ssh(), *_lab(), *_inventory(inventory, vault_password_file)])


def _finding(code: str, subject: str, declared: str, live: str, fix: str, verdict: Verdict = Verdict.BROKEN) -> Finding:
    return Finding(HERE, f"doctor.{code}", subject, declared, live, fix, verdict)


def _python() -> list[Finding]:
    found, current = platform.python_version(), tuple(sys.version_info[:2])
    if current >= (3, 11):
        return []
    return [_finding("python", "Python", "3.11 or newer", found, "install a newer Python and make a new environment")]


def _libraries() -> list[Finding]:
    findings = []
    for name in NEEDED:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            findings.append(_finding("library", name, "installed", "missing", "pip install steelyard"))
    return findings


def _ssh() -> list[Finding]:
    if shutil.which("ssh"):
        return []
    return [_finding("ssh", "ssh", "installed", "missing", "apt-get install openssh-client")]


def _lab() -> list[Finding]:
    """What `lab up` would need; only told where this machine could run a lab at all."""
    from steelyard.lab.programs import NEEDED as PROGRAMS

    if platform.system() != "Linux" or os.geteuid() != 0:
        return []
    return [
        _finding("lab", program, "installed, for `steelyard lab`", "missing", f"apt-get install {package}", Verdict.DIFFERS)
        for program, package in PROGRAMS.items()
        if shutil.which(program) is None
    ]


def _inventory(path: Path | None, vault_password_file: Path | None) -> list[Finding]:
    if path is None:
        return []
    from steelyard.host_keys import missing_keys
    from steelyard.inventory.connection import connection_data
    from steelyard.inventory.read import read_fleet
    from steelyard.settings import check_settings
    from steelyard.site import site_of

    def told(error: SteelyardError) -> Finding:
        return _finding(type(error).__name__, error.where, "valid", str(error), error.remedy)

    try:
        fleet = read_fleet(path, vault_password_file)
        problems = check_settings(fleet)
        if problems:
            return [told(error) for error in problems]
        site_of(fleet)
    except SteelyardError as error:
        return [told(error)]
    findings = [
        Finding(place.host, "doctor.host_key", f"host key of {place.name}", f"recorded in {place.known_hosts}", "not recorded",
                f"steelyard doctor -i {path} --record-keys", Verdict.BROKEN)
        for place in missing_keys(fleet)
    ]  # fmt: skip
    keys = {str(connection_data(host).get("ssh_key", "")) for host in fleet.hosts} - {""}
    for key in sorted(keys):
        if not Path(key).expanduser().is_file():
            findings.append(_finding("ssh_key", key, "a private key", "missing", "mend `ansible_ssh_private_key_file`"))
        elif Path(key).expanduser().stat().st_mode & 0o077:
            findings.append(_finding("ssh_key", key, "readable by you only", "readable by others", f"chmod 600 {key}"))
    return findings


def check_gpus(fleet: Fleet, answers: dict[str, dict[str, Any] | None], errors: dict[str, SteelyardError]) -> list[Finding]:
    """Findings about every GPU of the hosts that answered, and about those hosts that did not."""
    from steelyard.gpus.health import problems

    findings = [
        Finding(name, "doctor.host", name, "answers", str(error), error.remedy, Verdict.UNKNOWN)
        for name, error in errors.items()
    ]
    for host in fleet.in_group("gpu"):
        if host.name not in answers:
            continue
        answer = answers[host.name]
        if answer is None:
            fix = f"steelyard apply -i {fleet.path} -l {host.name} --deploy hosts"
            findings.append(Finding(host.name, "doctor.helper", "host helper", "installed", "missing", fix, Verdict.UNKNOWN))
            continue
        declared = (host.variables.get("nvidia_driver") or {}).get("gpus")
        for problem in problems(answer, declared):
            severity = Severity.ERROR if problem.halts else Severity.WARNING
            code = f"doctor.gpu-{problem.check}"
            findings.append(
                Finding(host.name, code, problem.subject, problem.declared, problem.live, problem.fix, Verdict.BROKEN, severity)
            )
    return findings
