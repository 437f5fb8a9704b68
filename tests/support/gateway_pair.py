"""Two gateways that share an address: the lab's own, and the mirror's host as the second one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.lab_site import Site, on_host, steelyard

SHARED = "100"  # last part of the address in the lab's network; no host has it


@contextmanager
def gateway_pair(site: Site, inventory: Path) -> Iterator[Site]:
    """`inventory` is a copy that may be changed. One client is limited. Afterwards the site is as it was."""
    roles, hosts = inventory / "group_vars/all/roles.yml", inventory / "hosts.yml"
    added = (
        f"gateway:\n  shared_address: {shared_address(site)}/24\n  limits: {{dify: {{per_minute: 5, at_once: 2}}}}\n"
    )
    roles.write_text(roles.read_text().replace("gateway:\n", added, 1))
    line = f"        gw-1: {{ansible_host: {site.address('gw-1')}}}\n"
    second = f"        mirror-1: {{ansible_host: {site.address('mirror-1')}}}\n"
    hosts.write_text(hosts.read_text().replace(line, line + second, 1))
    made = Site(site.lab, inventory)
    done = steelyard("apply", "-i", str(inventory), "--yes", "--deploy", "serve")
    assert done.returncode == 0, done.stdout + done.stderr
    assert made.changed("plan", "--deploy", "serve") == {}
    yield made
    on_host(site, "mirror-1", "systemctl disable --now keepalived haproxy && rm -rf /etc/haproxy /etc/keepalived")
    assert steelyard("apply", "-i", str(site.inventory), "--yes", "--prune").returncode == 0
    assert site.changed("plan") == {}


def shared_address(site: Site) -> str:
    return f"{site.address('gw-1').rsplit('.', 1)[0]}.{SHARED}"


def holders(pair: Site) -> list[str]:
    return [name for name in ("gw-1", "mirror-1") if f" {shared_address(pair)}/" in on_host(pair, name, "ip -o addr")]
