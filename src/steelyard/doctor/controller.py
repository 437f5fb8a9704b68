"""Checks of the controller itself: this machine, its libraries, the inventory; nothing is touched."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from steelyard.api.finding import Finding, Severity, Verdict
from steelyard.errors import SteelyardError

if TYPE_CHECKING:
    from steelyard.api.advice import Advice
    from steelyard.inventory.fleet import Fleet

HERE = "controller"
NEEDED = (
    "pyinfra",
    "ansible-core",
    "paramiko",
    "pydantic",
    "jinja2",
    "huggingface-hub",
    "nvidia-ml-py",
    "rich",
    "typer",
)


def check_controller(inventory: Path | None, vault_password_file: Path | None) -> list[Finding]:
    """Findings about Python, libraries, SSH, the inventory and the lab; none where all is well."""
    return sorted([*_python(), *_libraries(), *_ssh(), *_lab(), *_inventory(inventory, vault_password_file)])


def _finding(code: str, subject: str, declared: str, live: str, fix: str, verdict: Verdict = Verdict.BROKEN) -> Finding:
    return Finding(HERE, f"doctor.{code}", subject, declared, live, fix, verdict)


def _python() -> list[Finding]:
    version, current = platform.python_version(), tuple(sys.version_info[:2])
    if current >= (3, 11):
        return []
    return [_finding("python", "Python", "3.11 or newer", version, "install a newer Python and make a new environment")]


def _libraries() -> list[Finding]:
    findings = []
    for name in NEEDED:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            findings.append(
                _finding(
                    "library", name, "installed", "missing", f"{sys.executable} -m pip install '{_required(name)}'"
                )
            )
    return findings


def _required(name: str) -> str:
    """The versions of a library that this steelyard declares: no index is asked for whatever it calls steelyard."""
    declared = [line.split(";")[0].strip() for line in importlib.metadata.requires("steelyard") or ()]
    return next((line for line in declared if line.startswith(name)), name)


def _ssh() -> list[Finding]:
    if shutil.which("ssh"):
        return []
    return [_finding("ssh", "ssh", "installed", "missing", "apt-get install openssh-client")]


def _lab() -> list[Finding]:
    """Programs that `lab up` would need; only told where this machine could run a lab at all."""
    from steelyard.lab.nspawn.programs import NEEDED as PROGRAMS

    if platform.system() != "Linux" or os.geteuid() != 0:
        return []
    return [
        _finding(
            "lab", program, "installed, for `steelyard lab`", "missing", f"apt-get install {package}", Verdict.DIFFERS
        )
        for program, package in PROGRAMS.items()
        if shutil.which(program) is None
    ]


def _inventory(path: Path | None, vault_password_file: Path | None) -> list[Finding]:
    """Findings of the inventory's settings, and of what a connection to its hosts needs on this machine."""
    if path is None:
        return []
    from steelyard.inventory.connection import connection_problems
    from steelyard.inventory.placeholders import placeholders
    from steelyard.inventory.read import read_fleet
    from steelyard.inventory.split_sections import split_sections
    from steelyard.site.resolve import site_of
    from steelyard.site.secret_values import secret_advice, wrong_secrets
    from steelyard.site.validation import check_settings, role_settings, secret_fields

    try:
        fleet = read_fleet(path, vault_password_file)
        left = placeholders(fleet, role_settings())
        findings = [
            _finding(
                "change-me", f"{entry.place} {entry.key}", "yours", entry.word, entry.remedy(path), Verdict.DIFFERS
            )
            for entry in left
        ]
        places = {entry.place for entry in left}
        of_hosts = [problem for host in fleet.hosts for problem in connection_problems(fleet, host)]
        unresolved = {str(error): error for host in fleet.hosts for error in host.unresolved.values()}
        fields = secret_fields()
        wrong = (*check_settings(fleet), *wrong_secrets(fleet, fields), *of_hosts)
        every = {str(error): error for error in wrong}
        errors = [*unresolved.values(), *(error for error in every.values() if error.where not in places)]
        if errors:
            return [*findings, *map(_wrong, errors)]
        site_of(fleet)
        sections = (*role_settings(), "models")
        findings += [_advised(advice) for advice in split_sections(fleet, sections)]
        findings += [_advised(advice) for advice in secret_advice(fleet, fields)]
    except SteelyardError as error:
        return [_wrong(error)]
    return [*findings, *_host_keys(fleet), *_ssh_keys(fleet)]


def _wrong(error: SteelyardError) -> Finding:
    return _finding(type(error).__name__, error.where, "valid", str(error), error.remedy)


def _advised(advice: Advice) -> Finding:
    code = f"doctor.{advice.code}"
    return Finding(advice.host, code, advice.code, "read", advice.text, advice.fix, Verdict.BROKEN, Severity.WARNING)


def _host_keys(fleet: Fleet) -> list[Finding]:
    from steelyard.doctor.host_keys import missing_keys
    from steelyard.inventory.placeholders import is_placeholder

    fix = f"steelyard doctor -i {quote(str(fleet.path))} --record-keys"
    return [
        Finding(
            entry.host,
            "doctor.host_key",
            f"host key of {entry.name}",
            f"recorded in {entry.known_hosts}",
            "not recorded",
            fix,
            Verdict.BROKEN,
        )
        for entry in missing_keys(fleet)
        if not is_placeholder(entry.address)
    ]


def _ssh_keys(fleet: Fleet) -> list[Finding]:
    from steelyard.inventory.connection import connection_data
    from steelyard.inventory.placeholders import is_placeholder

    findings = []
    keys = {str(connection_data(host).get("ssh_key", "")) for host in fleet.hosts if not host.unresolved} - {""}
    for key in sorted(key for key in keys if not is_placeholder(key)):
        path = Path(os.path.expanduser(key))  # noqa: PTH111  what is no path of anybody's stays as it is
        if not path.is_file():
            findings.append(_finding("ssh_key", key, "a private key", "missing", "mend `ansible_ssh_private_key_file`"))
        elif path.stat().st_mode & 0o077:
            fix = f"chmod 600 {quote(str(path))}"
            findings.append(_finding("ssh_key", key, "readable by you only", "readable by others", fix))
    return findings
