"""Host keys: those that are recorded, and recording those that are not: after a person has compared them.

Keys are fetched with OpenSSH's ssh-keyscan, which trusts whoever answers; that is why nothing is written unasked.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import FileNotWritten
from steelyard.inventory.connection import connection_data
from steelyard.inventory.fleet import Fleet
from steelyard.inventory.home_folders import at_both_homes
from steelyard.inventory.ssh_arguments import files_in

SCAN_S = 5
KEY_TYPES = "ed25519,ecdsa,rsa"


@dataclass(frozen=True)
class KnownHostsEntry:
    """One host as known_hosts names it: where it is reached, and the file that should hold its key."""

    host: str
    address: str
    port: int
    known_hosts: Path

    @property
    def name(self) -> str:
        """The address as known_hosts writes it."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"


@dataclass(frozen=True)
class OfferedKey:
    """A key that a host showed. `line` is what known_hosts would hold."""

    place: KnownHostsEntry
    kind: str
    line: str

    @property
    def fingerprint(self) -> str:
        """The fingerprint as `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.line.split()[2])).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def missing_keys(fleet: Fleet) -> list[KnownHostsEntry]:
    """Hosts without a recorded key; those behind a jump host are left out, because nobody can ask them from here."""
    from steelyard.inventory.known_hosts import KnownKeys  # with paramiko, for this look alone

    missing = []
    for host in (host for host in fleet.hosts if not host.unresolved):
        data = connection_data(host)
        ways = [option for option in data.get("ssh_options", ()) if option.name in ("proxyjump", "proxycommand")]
        if data.get("ssh_strict_host_key_checking", "yes") != "yes" or "ssh_config_file" in data or ways:
            continue
        named = files_in(str(data.get("ssh_known_hosts_file") or "~/.ssh/known_hosts"))
        homes = [path for name in named for path in at_both_homes(name)]
        paths = [Path(os.path.expanduser(name)) for name in homes]  # noqa: PTH111  what is no path stays as it is
        # a new key goes into the first, as ssh writes it
        place = KnownHostsEntry(host.name, host.address.rpartition("@")[2], int(data.get("ssh_port", 22)), paths[0])
        if not KnownKeys(place.address, map(str, paths), place.port):
            missing.append(place)
    return missing


def scan(places: Sequence[KnownHostsEntry]) -> list[OfferedKey]:
    """The best key that each place shows now; places that do not answer are not in it."""
    offered: list[OfferedKey] = []
    for port in sorted({place.port for place in places}):
        here = {place.address: place for place in places if place.port == port}
        argv = ["ssh-keyscan", "-T", str(SCAN_S), "-p", str(port), "-t", KEY_TYPES, *here]
        lines = subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()
        best: dict[str, OfferedKey] = {}
        for line in sorted(lines, key=lambda text: "ed25519" not in text):
            if not line.startswith("#") and len(line.split()) >= 3:
                name, kind, key = line.split()[:3]
                address = name.removeprefix("[").split("]:")[0]
                if address in here:
                    place = here[address]
                    best.setdefault(address, OfferedKey(place, kind, f"{place.name} {kind} {key}"))
        offered += [best[address] for address in here if address in best]
    return offered


def record(keys: Sequence[OfferedKey]) -> None:
    """Append the keys to their files. Raises FileNotWritten."""
    for key in keys:
        path = key.place.known_hosts
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with path.open("a") as file:
                file.write(key.line + "\n")
        except OSError as error:
            raise FileNotWritten(where=str(path), why=error.strerror or str(error)) from error
