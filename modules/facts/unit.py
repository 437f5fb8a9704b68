"""A systemd unit as it runs now, not as its file says; one exec. Source: systemctl show, /proc.

`config` is the value of STEELYARD_CONFIG in the environment of the main process: a role writes the hash of its
configuration there, so a process that was started with an older one is seen, whatever the files say today.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from steelyard_host.wire.services import ServiceState


@dataclass(frozen=True)
class UnitState:
    """State of a unit. `load`: loaded, not-found or masked; `enabled`: what `systemctl is-enabled` says."""

    load: str
    active: ServiceState
    enabled: str
    needs_reload: bool
    files: tuple[str, ...] = ()  # unit file and drop-ins as loaded
    config: str | None = None
    mounted: str | None = None  # source of the mount at the path asked for, as the process sees it


def parse_unit(lines: list[str]) -> UnitState:
    """`Key=value` lines to a state. Raises FactProcessError."""
    try:
        values = dict(line.split("=", 1) for line in lines if line)
        return UnitState(
            values["LoadState"],
            ServiceState.of(values["ActiveState"]),
            values["UnitFileState"] or "none",
            values["NeedDaemonReload"] == "yes",
            (values["FragmentPath"], *values["DropInPaths"].split()),
            values.get("config") or None,
            values.get("mounted") or None,
        )
    except (KeyError, ValueError) as error:
        raise FactProcessError(f"unit: cannot read {lines}") from error


class Unit(FactBase[UnitState]):
    """State of `unit`, and where `mount` is given, what its process sees mounted there (the last mount wins). What a
    process that ends meanwhile had is left out.

    It is `wanted` where it is that very folder: the kernel names a mount from the root of its file system, which need
    not be the host's, and a folder may be shown by a link.
    """

    def command(self, unit: str, mount: str = "", wanted: str = "") -> StringCommand:
        name = QuoteString(unit)
        shown = StringCommand(
            "s=$(systemctl show",
            name,
            "--property=LoadState,ActiveState,UnitFileState,NeedDaemonReload,MainPID,FragmentPath,DropInPaths"
            '); echo "$s"',
        )
        pid = 'p=$(echo "$s" | sed -n s/^MainPID=//p)'
        config = "tr '\\0' '\\n' </proc/$p/environ | sed -n s/^STEELYARD_CONFIG=/config=/p"
        running = StringCommand('if test "$p" != 0 && test -r /proc/$p/environ; then {', config)
        if mount:
            seen = StringCommand("awk -v at=", QuoteString(mount), _separator="")
            named = StringCommand(seen, "'$5==at {m=$4} END {print \"mounted=\" m}' /proc/$p/mountinfo")
            if wanted:
                same = StringCommand('if test "/proc/$p/root"', QuoteString(mount), _separator="")
                named = StringCommand(
                    same,
                    "-ef",
                    QuoteString(wanted),
                    "; then echo",
                    QuoteString(f"mounted={wanted}"),
                    "; else",
                    named,
                    "; fi",
                )
            running = StringCommand(running, ";", named)
        # one that ends meanwhile is no failure: of a zombie too, nothing is left to be seen
        ended = "! test -e /proc/$p/exe"
        return StringCommand(shown, ";", pid, ";", running, "; } ||", ended, "; fi")

    def process(self, output: list[str]) -> UnitState:
        return parse_unit(output)

    @staticmethod
    def default() -> UnitState:
        return UnitState("not-found", ServiceState.INACTIVE, "none", False)
