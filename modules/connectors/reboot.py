"""Reboots a host and waits until it is another boot of it. A host that does not come back fails, and stops its wave."""

from __future__ import annotations

import time

import gevent
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.connectors.util import CommandOutput

from steelyard.api.host_error import HostError
from steelyard.api.sudo import sudo_arguments
from steelyard.errors import HostDidNotReturn

from .connection import connection_of

BOOT = StringCommand("cat /proc/sys/kernel/random/boot_id")
STARTED = StringCommand("timeout 300 systemctl is-system-running --wait; true")
TRY_S = 2.0


def reboot(host: Host, seconds: float) -> None:
    """Ends when the host answers from another boot and has started its units. Raises HostDidNotReturn."""
    sudo = sudo_arguments(host)
    before = _said(host.run_shell_command(BOOT, **sudo))
    # a moment later, so that this command ends before its connection does
    host.run_shell_command(StringCommand("systemd-run --quiet --on-active=1 systemctl reboot"), **sudo)
    end, why = time.monotonic() + seconds, "it still answers from the boot before"
    while time.monotonic() < end:
        gevent.sleep(TRY_S)
        try:
            connection_of(host).again()
            current = _said(host.run_shell_command(BOOT, **sudo))
        except (HostError, PyinfraError, OSError, EOFError) as problem:
            error = getattr(problem, "error", problem)
            why = str(error).removeprefix(f"{host.name}: ")
            continue
        if current and current != before:
            host.run_shell_command(STARTED, **sudo)
            return
    raise HostDidNotReturn(where=host.name, seconds=f"{seconds:g}", why=why)


def _said(answer: tuple[bool, CommandOutput]) -> str:
    done, output = answer
    return "".join(output.stdout_lines).strip() if done else ""
