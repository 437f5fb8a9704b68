"""Which hosts' keys are recorded, and recording those that are not: after a person has compared them.

Keys are fetched with OpenSSH's ssh-keyscan, which trusts whoever answers; that is why nothing is written unasked.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import FileNotWritten
from steelyard.inventory.connection import connection_data
from steelyard.inventory.fleet import Fleet

SCAN_S = 5
KINDS = "ed25519,ecdsa,rsa"


@dataclass(frozen=True)
class Place:
    """Where a host is reached, and the file that should hold its key."""

    host: str
    address: str
    port: int
    known_hosts: Path

    @property
    def name(self) -> str:
        """As known_hosts writes it."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"


@dataclass(frozen=True)
class Offered:
    """A key that a host showed. `line` is what known_hosts would hold."""

    place: Place
    kind: str
    line: str

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.line.split()[2])).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def missing_keys(fleet: Fleet) -> list[Place]:
    """Hosts without a recorded key; those behind a jump host are left out, because nobody can ask them from here."""
    from paramiko.hostkeys import HostKeys

    files: dict[Path, HostKeys] = {}
    missing = []
    for host in fleet.hosts:
        data = connection_data(host)
        if data["ssh_strict_host_key_checking"] != "yes" or "ssh_config_file" in data:
            continue
        path = Path(str(data.get("ssh_known_hosts_file", "~/.ssh/known_hosts"))).expanduser()
        place = Place(host.name, host.address, int(data.get("ssh_port", 22)), path)
        if path not in files:
            files[path] = HostKeys()
            if path.is_file():
                files[path].load(str(path))
        if files[path].lookup(place.name) is None:
            missing.append(place)
    return missing


def scan(places: Sequence[Place]) -> list[Offered]:
    """The best key that each place shows now; places that do not answer are not in it."""
    found: list[Offered] = []
    for port in sorted({place.port for place in places}):
        here = {place.address: place for place in places if place.port == port}
        words = ["ssh-keyscan", "-T", str(SCAN_S), "-p", str(port), "-t", KINDS, *here]
        lines = subprocess.run(words, capture_output=True, text=True).stdout.splitlines()
        best: dict[str, Offered] = {}
        for line in sorted(lines, key=lambda text: "ed25519" not in text):
            if not line.startswith("#") and len(line.split()) >= 3:
                name, kind, key = line.split()[:3]
                address = name.removeprefix("[").split("]:")[0]
                if address in here:
                    place = here[address]
                    best.setdefault(address, Offered(place, kind, f"{place.name} {kind} {key}"))
        found += [best[address] for address in here if address in best]
    return found


def record(keys: Sequence[Offered]) -> None:
    """Append the keys to their files. Raises FileNotWritten."""
    for key in keys:
        path = key.place.known_hosts
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with path.open("a") as file:
                file.write(key.line + "\n")
        except OSError as error:
            raise FileNotWritten(where=str(path), why=error.strerror or str(error)) from error
