"""The site's lab as tests see it: commands run against it, its hosts entered, its traces on this machine counted."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from steelyard.lab.inventory_files import lab_secrets
from steelyard.lab.nspawn.paths import cache_root
from steelyard.lab.nspawn.record import Lab, find_lab, lab_names

BIN = Path(sys.executable).parent
STEELYARD = str(BIN / "steelyard")
# the gateway notices a dead service at its next check, seconds later: whether a plan sees that is a matter of timing
SEEN_LATER = "gateway.see-the-services-give-tokens"
ROOT = Path(__file__).parent.parent.parent
SCHEMA = json.loads((ROOT / "docs/reference/schemas/steelyard.schema.json").read_text())


def steelyard(*words: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command as a user would run it in a pipe: no terminal, nothing on standard input."""
    return subprocess.run(
        [STEELYARD, *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env={**os.environ, **environment},
    )


def shell(command: str) -> str:
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout


TRACES = {
    "mounts": "grep steelyard/lab /proc/mounts",
    "namespaces": "ip netns list | cut -d' ' -f1",
    "links": "ls /sys/class/net | grep '^sy'",
    "rules": "iptables-save | grep '^-A'",
    "processes": "ps -eo stat=,args= | grep '[s]ystemd-nspawn' | grep -v ^Z | cut -d' ' -f2-",
    "cgroups": "find /sys/fs/cgroup -mindepth 1 -maxdepth 4 -path '*steelyard-lab/*' -type d",
    "labs": "ls -d /var/lib/steelyard/lab/*/",
    "sysctls": "cat /proc/sys/net/ipv4/ip_forward /proc/sys/fs/inotify/max_user_instances",
}


def traces(*mine: str) -> dict[str, list[str]]:
    """What labs of these names change on this machine; what belongs to others, that another process of the tests has,
    is left out.
    """
    others = _others(mine)
    found = {what: sorted(shell(command).splitlines()) for what, command in TRACES.items()}
    others |= _others(mine)
    if others:
        del found["sysctls"]  # raised for them too
        theirs = re.compile("|".join(rf"/lab/{name}/|\bsylab{slot}\b|\bsy{slot}h" for name, slot in others))
        found = {what: [line for line in lines if not theirs.search(line)] for what, lines in found.items()}
    return found


def _others(mine: tuple[str, ...]) -> set[tuple[str, int]]:
    labs = [lab for name in lab_names() if name not in mine and (lab := find_lab(name)) is not None]
    return {(lab.paths.name, lab.slot) for lab in labs}


def assert_no_trace_since(before: dict[str, list[str]], *mine: str) -> None:
    after = traces(*mine)
    both = before.keys() & after.keys()
    assert {what: after[what] for what in both} == {what: before[what] for what in both}, (
        "the lab left something behind"
    )


def own_wheels() -> None:
    """For labs beside the site's: the same wheels in a folder of theirs, because each lab indexes its own, and breaks
    it in tests.
    """
    collected, mine = cache_root() / "wheels", cache_root() / "wheels-beside"
    for wheel in collected.rglob("files/*.whl"):
        linked = mine / wheel.relative_to(collected)
        linked.parent.mkdir(parents=True, exist_ok=True)
        if not linked.exists():
            os.link(wheel, linked)


@dataclass
class Site:
    """The provisioned lab and its inventory."""

    lab: Lab
    inventory: Path

    def sh(self, host: str, command: str, check: bool = True) -> str:
        done = steelyard("lab", "exec", host, "--name", self.lab.paths.name, "--", "sh", "-c", command)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def json(self, command: str, *words: str) -> dict[str, Any]:
        done = steelyard(*command.split(), "-i", str(self.inventory), "--json", *words)
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        jsonschema.validate(found, SCHEMA)
        return found

    def changed(self, command: str, *words: str) -> dict[str, list[str]]:
        """Codes of the tasks that would change (plan) or did (apply), by host; hosts in sync are left out."""
        answer = self.json(command, *words)
        errors = [host["error"] for host in answer["hosts"] if host["error"]]
        assert errors == [], errors
        codes = {
            host["host"]: [task["code"] for task in host["tasks"] if task["code"] != SEEN_LATER]
            for host in answer["hosts"]
        }
        return {host: found for host, found in codes.items() if found}

    @property
    def secrets(self) -> dict[str, str]:
        return lab_secrets(self.lab.paths)

    def address(self, host: str) -> str:
        return self.lab.addresses()[host]

    def copy(self, tmp_path: Path) -> Path:
        """The inventory under another path, to be broken there."""
        return Path(shutil.copytree(self.inventory, tmp_path / "inventory"))


def first_process(site: Site, host: str) -> str:
    """Number, on this machine, of the host's systemd."""
    pid = (site.lab.paths.host(host) / "pid").read_text().strip()
    for _ in range(2):  # nspawn, its inner half, and then the host's own
        pid = subprocess.run(["pgrep", "-P", pid], capture_output=True, text=True).stdout.split()[0]
    return pid


def on_host(site: Site, host: str, command: str) -> str:
    """As root, past SSH and sudo: from this machine, into the host's namespaces."""
    words = ["nsenter", "-t", first_process(site, host), "-a", "sh", "-c", command]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_converges(site: Site, breaks: Mapping[tuple[str, str], list[str]]) -> None:
    """`breaks` maps (host, shell command that does harm) to the tasks of that host that must notice it, and no
    others.
    """
    assert site.changed("plan") == {}, "not in sync to begin with"
    for (host, harm), noticed_by in breaks.items():
        site.sh(host, harm)
        assert site.changed("plan") == {host: noticed_by}, f"after {harm!r}"
        repaired = site.changed("apply", "--yes")
        # what one task mends, a later one need not: a started proxy has loaded its configuration
        assert set(repaired) == {host}, f"repairing {harm!r}"
        assert repaired[host], f"repairing {harm!r}"
        assert set(repaired[host]) <= set(noticed_by), f"repairing {harm!r}"
        assert site.changed("plan") == {}, f"{harm!r} came back"
