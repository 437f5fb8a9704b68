"""The cause why a HAProxy does not run, by its unit, its log, its own check of its configuration, and open sockets.

Asked only where one does not run: a check of the configuration takes HAProxy a tenth of a second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

LOG_LINES = 60
LINE_OF_CONFIG = re.compile(r"config : parsing \[(?P<file>[^:\]]+):(?P<line>\d+)\] ?: (?P<why>.+)")
PORT_TAKEN = re.compile(r"cannot bind socket \(Address already in use\).*?[\[ ](?P<address>[^\[\] ]*):(?P<port>\d+)\]?")
ALERT = re.compile(r"\[ALERT\] +\(\d+\) : (?P<why>.+)")
OWNER = re.compile(r'users:\(\("(?P<name>[^"]+)",pid=(?P<pid>\d+)')


@dataclass(frozen=True)
class ProxyDeath:
    """The cause of a HAProxy that does not run, in a sentence, and what mends it there before an apply can."""

    why: str
    fix: str


def parse_death(lines: list[str]) -> ProxyDeath | None:
    """`check=`, `log=` and `socket=` lines to the cause; None where nothing went wrong: somebody stopped it.

    Raises FactProcessError where the host did not answer as asked.
    """
    said: dict[str, list[str]] = {"result": [], "check": [], "log": [], "socket": []}
    for line in lines:
        kind, _, text = line.partition("=")
        if kind not in said:
            raise FactProcessError(f"haproxy: cannot read {line!r}")
        said[kind].append(text)
    refused = [match for match in map(LINE_OF_CONFIG.search, said["check"]) if match]
    if refused:
        place = f"{refused[0]['file']}:{refused[0]['line']}"
        return ProxyDeath(
            f"HAProxy refuses its configuration: {place}: {refused[0]['why']}",
            f"mend {place}, or `steelyard apply`, which writes the file anew",
        )
    if said["result"] == ["success"]:
        return None
    taken = [match for match in map(PORT_TAKEN.search, reversed(said["log"])) if match]
    if taken:
        return _taken(int(taken[0]["port"]), said["socket"])
    alerts = [match["why"] for match in map(ALERT.search, (*said["check"], *reversed(said["log"]))) if match]
    if alerts:
        return ProxyDeath(f"HAProxy says: {alerts[0]}", "mend what it says, then `steelyard apply`")
    return None


def _taken(port: int, sockets: list[str]) -> ProxyDeath:
    """A port that another process listens on, with its name where the kernel tells it."""
    for line in sockets:
        fields = line.split()
        owner = OWNER.search(line)
        if owner and any(field.endswith(f":{port}") for field in fields[3:4]):
            name, pid = owner["name"], owner["pid"]
            return ProxyDeath(
                f"port {port} is taken by `{name}` (pid {pid})",
                f"stop it there (`systemctl status {pid}` tells whose it is), then `steelyard apply`",
            )
    return ProxyDeath(
        f"port {port} was taken by another process",
        f"`ss -Hltnp 'sport = :{port}'` there names it; stop it, then `steelyard apply`",
    )


class ProxyEnd(FactBase["ProxyDeath | None"]):
    """The cause why the HAProxy of `unit`, configured by `config`, does not run. The unit's result is always printed.

    `ss` ends well without sockets, and without it the port's owner stays unnamed: that much is left out, no more.
    """

    def command(self, unit: str, config: str) -> StringCommand:
        name = QuoteString(unit)
        result = StringCommand("systemctl show", name, "--property=Result --value | sed 's/^/result=/'")
        checked = StringCommand("/usr/sbin/haproxy -c -q -f", QuoteString(config), "2>&1 | sed 's/^/check=/'")
        log = StringCommand(f"journalctl --no-pager --quiet --boot -o cat -n {LOG_LINES} -u", name, "| sed 's/^/log=/'")
        sockets = StringCommand("ss -Hltnp 2>/dev/null | sed 's/^/socket=/'")
        return StringCommand(result, ";", checked, ";", log, ";", sockets)

    def process(self, output: list[str]) -> ProxyDeath | None:
        return parse_death(output)

    @staticmethod
    def default() -> ProxyDeath | None:
        return None
