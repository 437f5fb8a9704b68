"""This controller's own records of a host: journals of applies, first sightings of findings, known host keys."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from steelyard.dirs import fleet_key, state_folder, write_private
from steelyard.inventory.connection import connection_data
from steelyard.inventory.fleet import FleetHost
from steelyard.inventory.home_folders import at_both_homes
from steelyard.inventory.ssh_arguments import files_in


def forget_host(inventory: Path, host: FleetHost) -> tuple[str, ...]:
    """Take the host out of every record but the audit log, which says what was done; the records that held it."""
    key, changed = fleet_key(inventory), []
    for path in sorted((state_folder() / "runs").glob(f"{key}-*.jsonl")):
        if _without_lines(path, host.name):
            changed.append(str(path))
    seen = state_folder() / "seen" / f"{key}.json"
    if _without_sightings(seen, host.name):
        changed.append(str(seen))
    files = files_in(str(connection_data(host).get("ssh_known_hosts_file", "~/.ssh/known_hosts")))
    for named in (path for file in files for path in at_both_homes(file)):
        known = Path(os.path.expanduser(named))  # noqa: PTH111  what is no path of anybody's stays as it is
        if _without_keys(known, host):
            changed.append(str(known))
    return tuple(changed)


def _without_lines(path: Path, name: str) -> bool:
    """A journal has a head with all its hosts, then a line for each that is through."""
    lines = path.read_text().splitlines()
    kept = []
    for line in lines:
        with suppress(ValueError, TypeError):
            entry = json.loads(line)
            if entry.get("host") == name and "well" in entry:
                continue
            if isinstance(entry.get("hosts"), list):
                entry["hosts"] = [other for other in entry["hosts"] if other != name]
                line = json.dumps(entry)
        kept.append(line)
    return _replaced(path, lines, kept)


def _without_sightings(path: Path, name: str) -> bool:
    try:
        seen = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    kept = {key: at for key, at in seen.items() if not key.startswith(f"{name}:") and not key.endswith(f":host {name}")}
    if kept == seen:
        return False
    write_private(path, json.dumps(kept).encode())
    return True


def _without_keys(path: Path, host: FleetHost) -> bool:
    """Lines that name the host alone; one that names others too loses the name. Hashed names are looked up."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return False
    port, address = connection_data(host).get("ssh_port", 22), host.address.rpartition("@")[2]
    names = {host.name, address, f"[{address}]:{port}", f"[{host.name}]:{port}"}
    kept = []
    for line in lines:
        fields = line.split(" ", 1)
        if line.startswith(("#", "@")) or len(fields) != 2:
            kept.append(line)
            continue
        left = [entry for entry in fields[0].split(",") if not _is_of(entry, names)]
        if left:
            kept.append(" ".join([",".join(left), fields[1]]))
    return _replaced(path, lines, kept)


def _is_of(entry: str, names: set[str]) -> bool:
    if not entry.startswith("|1|"):
        return entry in names
    from paramiko.hostkeys import HostKeys

    return any(HostKeys.hash_host(name, entry) == entry for name in names)


def _replaced(path: Path, before: list[str], after: list[str]) -> bool:
    if before == after:
        return False
    mode = path.stat().st_mode & 0o777
    write_private(path, "".join(f"{line}\n" for line in after).encode())
    path.chmod(mode)
    return True
