"""Leftovers on this host of services that are declared no more: units, files, keys, marks, caches and records."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from steelyard_host import paths
from steelyard_host.engine.service import (
    ENGINES,
    SECOND,
    SERVICES,
    TRIAL_UNITS,
    UNITS,
    is_engine,
    services_with_accounts,
)
from steelyard_host.system import json_file
from steelyard_host.wire.codec import WireError, from_json
from steelyard_host.wire.remains import LeftService, Remains, RememberedHost

UNIT = re.compile(r"steelyard-(%s|watch|lazy)@(.+)\.(?:service|timer|socket)" % "|".join(ENGINES))
DECLARED = (SERVICES, Path(paths.KEYS))
MARKS = tuple(Path(folder) for folder in paths.OF_SERVICES)
RECORDS = tuple(Path(folder) for folder in (paths.START_RECORDS, paths.KILL_RECORDS, paths.TRIAL_RECORDS))
FRONT = (
    "steelyard-front.service",
    "steelyard-watch@.service",
    "steelyard-watch@.timer",
    "steelyard-lazy@.service",
    "steelyard-lazy@.socket",
    *("steelyard-%s@.service" % kind for kind in ENGINES),
)
ROLE = "# steelyard: role gateway"  # the first line of what that role writes
GATEWAY = ("/etc/haproxy/haproxy.cfg", "/etc/keepalived/keepalived.conf")
STAMPS = ("haproxy.service.d/50-steelyard.conf", "keepalived.service.d/50-steelyard.conf")


def read(declared: Sequence[str]) -> Remains:
    """Return what is here beside the `declared` units of services."""
    units = _units()
    accounts = services_with_accounts()
    names = {name.split(SECOND)[0] for name in units} | _names_of_files() | accounts.keys()
    services = {_service_of(unit) for unit in declared}
    left = [_left(name, units)._replace(account=accounts.get(name, "")) for name in sorted(names - services)]
    for name in sorted(names & services):
        others = [unit for unit in units.get(name, ()) if unit not in declared and is_engine(unit)]
        if others:
            folders = tuple(str(path) for unit in others for path in _drop_ins(unit))
            left.append(LeftService(name, tuple(others), folders, replaced=True))
    starting = tuple(unit for unit in declared if unit not in units.get(_service_of(unit), ()))
    return Remains(tuple(left), starting, () if declared else _front(), _gateway(), _hosts())


def _service_of(unit: str) -> str:
    return unit.split("@", 1)[1].rsplit(".", 1)[0]


def _units() -> dict[str, tuple[str, ...]]:
    """Instance to its units: those with drop-ins of ours, those that start at boot, and those that run now."""
    named = [path.name[: -len(".d")] for root in (UNITS, TRIAL_UNITS) for path in root.glob("steelyard-*@*.d")]
    named += [path.name for path in UNITS.glob("*.wants/steelyard-*@*")]
    listing = ["systemctl", "list-units", "--plain", "--no-legend", "--full", "steelyard-*@*"]
    try:
        output = subprocess.run(listing, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    except OSError:
        output = ""
    named += [line.split()[0] for line in output.splitlines() if line.split()]
    units: dict[str, set[str]] = {}
    for unit in named:
        match = UNIT.fullmatch(unit)
        if match is not None:
            units.setdefault(match[2], set()).add(unit)
    return {name: tuple(sorted(own)) for name, own in units.items()}


def _names_of_files() -> set[str]:
    names = {path.stem for path in SERVICES.glob("*.*") if path.suffix in (".env", ".yaml", ".json")}
    names |= {path.name for path in Path(paths.KEYS).glob("*")}
    names |= {path.name for path in Path(paths.CACHES).glob("*") if path.is_dir() and not path.name.startswith(".")}
    names |= {path.stem for folder in RECORDS for path in folder.glob("*.json")}
    return {name.split(SECOND)[0] for name in names}


def _drop_ins(unit: str) -> list[Path]:
    return [path for root in (UNITS, TRIAL_UNITS) if (path := root / (unit + ".d")).is_dir()]


def _left(name: str, units: dict[str, tuple[str, ...]]) -> LeftService:
    both = (name, name + SECOND)
    own = tuple(unit for instance in both for unit in units.get(instance, ()))
    files = [path for unit in own for path in _drop_ins(unit)]
    beside = [path for folder in DECLARED for path in sorted(folder.glob("*"))]
    files += [path for path in beside if name in (path.name, path.stem)]
    files += [path for folder in MARKS for path in sorted(folder.glob("*")) if path.stem in both or path.name in both]
    files += [path for instance in both if (path := Path(paths.RUN) / instance).exists()]
    kept = [path for instance in both if (path := Path(paths.cache_of(instance))).is_dir()]
    kept += [path for folder in RECORDS for path in sorted(folder.glob("*.json")) if path.stem in both]
    sizes = sum(_bytes(path) for path in kept)
    return LeftService(name, own, tuple(map(str, dict.fromkeys(files))), tuple(map(str, kept)), sizes)


def _bytes(path: Path) -> int:
    """What it takes on its disk."""
    total = path.lstat().st_blocks * 512
    for folder, _, names in os.walk(str(path)):
        for name in names:
            try:
                total += (Path(folder) / name).lstat().st_blocks * 512
            except OSError:
                continue  # gone meanwhile
    return total


def _front() -> tuple[str, ...]:
    """Files of the local proxy and of units that services share: for a host that has services."""
    named = [UNITS / name for name in FRONT]
    named += [Path(paths.PROXY_CONFIG), Path(paths.PROXY_VERSIONS), Path(paths.LIBRARIES) / "engine-exec"]
    named += [Path(paths.PROXY_KEY), Path(paths.PROXY_KEYS_BEFORE)]
    return tuple(str(path) for path in named if path.exists())


def _gateway() -> tuple[str, ...]:
    """Files of the gateway's role, where the host has it, or had it."""
    ours = [path for path in map(Path, GATEWAY) if _begins(path, ROLE)]
    ours += sorted(Path("/etc/haproxy").glob("steelyard*"))
    ours += [path for name in STAMPS if (path := UNITS / name).exists()]
    return tuple(str(path) for path in ours)


def _begins(path: Path, text: str) -> bool:
    try:
        with path.open() as file:
            return file.readline().startswith(text)
    except (OSError, UnicodeDecodeError):
        return False


def remember(hosts: dict[str, object], forgotten: Sequence[str]) -> Remains:
    """Add hosts to the record of those that were applied, and take others out; the answer has what it is now."""
    kept = {**json_file.read_object(Path(paths.HOSTS)), **hosts}
    json_file.write_atomically(Path(paths.HOSTS), {name: kept[name] for name in kept if name not in forgotten})
    return Remains(hosts=_hosts())


def _hosts() -> dict[str, RememberedHost]:
    hosts = {}
    for name, entry in json_file.read_object(Path(paths.HOSTS)).items():
        try:
            hosts[name] = from_json(RememberedHost, entry)
        except WireError:
            continue  # of another release
    return hosts
