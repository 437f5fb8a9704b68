"""One bridge per lab, one network namespace per host; pure builders of the commands, in the order they run.

Only hosts marked `routed` pass the machine's forwarding rules; the others cannot get out even with a route of
their own. Rules carry a comment with the lab's bridge, so `down` finds every one of them after a crash too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

Command = tuple[str, ...]


@dataclass(frozen=True)
class LabNetwork:
    """Slot N is bridge `sylabN` and 10.77.N.0/24; the machine itself is .1."""

    slot: int

    @property
    def bridge(self) -> str:
        return f"sylab{self.slot}"

    @property
    def gateway(self) -> str:
        return f"10.77.{self.slot}.1"

    def address(self, number: int) -> str:
        """Address of the host with this number, 0 to 239."""
        return f"10.77.{self.slot}.{number + 10}"

    def veth(self, number: int) -> str:
        return f"sy{self.slot}h{number}"

    def namespace(self, host: str) -> str:
        return f"{self.bridge}-{host}"


def bridge_commands(net: LabNetwork) -> list[Command]:
    return [
        ("ip", "link", "add", net.bridge, "type", "bridge"),
        ("ip", "addr", "add", f"{net.gateway}/24", "dev", net.bridge),
        ("ip", "link", "set", net.bridge, "up"),
    ]


def rule_specs(net: LabNetwork, routed: list[str]) -> list[Command]:
    """Table and rule of each firewall rule, first match first. `routed` holds addresses."""
    mark = ("-m", "comment", "--comment", f"steelyard lab {net.bridge}")
    rules: list[Command] = [("filter", "FORWARD", "-i", net.bridge, "-o", net.bridge, *mark, "-j", "ACCEPT")]
    for address in routed:
        rules.append(("filter", "FORWARD", "-i", net.bridge, "-s", address, *mark, "-j", "ACCEPT"))
    established = ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED")
    rules.append(("filter", "FORWARD", "-o", net.bridge, *established, *mark, "-j", "ACCEPT"))
    rules.append(("filter", "FORWARD", "-i", net.bridge, *mark, "-j", "DROP"))
    for address in routed:
        rules.append(("nat", "POSTROUTING", "-s", address, "!", "-o", net.bridge, *mark, "-j", "MASQUERADE"))
    return rules


def add_rule_commands(net: LabNetwork, routed: list[str]) -> list[Command]:
    """Inserted last rule first, so that they stand in order at the head of their chains."""
    return [("iptables", "-w", "-t", table, "-I", *rule) for table, *rule in reversed(rule_specs(net, routed))]


def delete_rule_commands(net: LabNetwork, saved: str) -> list[Command]:
    """Read `iptables-save` output; return one delete per rule that carries this lab's comment."""
    table, commands = "filter", []
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A ") and f'"steelyard lab {net.bridge}"' in line:
            argv = [word.strip('"') for word in _split_quoted(line[3:])]
            commands.append(("iptables", "-w", "-t", table, "-D", *argv))
    return commands


def _split_quoted(text: str) -> list[str]:
    import shlex

    return shlex.split(text)


def host_link_commands(net: LabNetwork, host: str, number: int, routed: bool) -> list[Command]:
    space, veth = net.namespace(host), net.veth(number)
    commands: list[Command] = [
        ("ip", "netns", "add", space),
        ("ip", "link", "add", veth, "type", "veth", "peer", "name", "host0", "netns", space),
        ("ip", "link", "set", veth, "master", net.bridge, "up"),
        ("ip", "-n", space, "link", "set", "lo", "up"),
        ("ip", "-n", space, "addr", "add", f"{net.address(number)}/24", "dev", "host0"),
        ("ip", "-n", space, "link", "set", "host0", "up"),
    ]
    if routed:
        commands.append(("ip", "-n", space, "route", "add", "default", "via", net.gateway))
    return commands


def nameservers(resolv_conf: Path = Path("/etc/resolv.conf")) -> str:
    """resolv.conf for routed hosts: the machine's, or what stands behind its loopback stub."""
    text = resolv_conf.read_text() if resolv_conf.exists() else ""
    behind = Path("/run/systemd/resolve/resolv.conf")
    return behind.read_text() if "nameserver 127." in text and behind.exists() else text
