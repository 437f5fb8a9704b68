"""Login to a lab host: with the lab's own key and known_hosts, strictly checked."""

from __future__ import annotations

import shlex

from .record import require_lab


def ssh_command(name: str, host: str, command: list[str]) -> list[str]:
    """The argv of ssh. Raises LabNotThere, LabHostNotThere."""
    lab = require_lab(name, "steelyard lab ssh")
    machine = lab.machine(host)
    options = [
        "-i",
        str(lab.paths.key),
        "-o",
        f"UserKnownHostsFile={lab.paths.known_hosts}",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "BatchMode=yes",
        "-o",
        "LogLevel=ERROR",
    ]
    return ["ssh", *options, f"ops@{machine.address}", *([shlex.join(command)] if command else [])]
