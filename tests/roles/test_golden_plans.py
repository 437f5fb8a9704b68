"""Golden plans: a role on a scripted host (pyinfra's @fake), every task's commands and file contents, and the unknowns.

One YAML per situation: `settings` and `live` in, `tasks` and `unknown` out. `make golden` writes what is found now.
"""

from __future__ import annotations

import hashlib
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pyinfra
import pytest
import yaml
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_config, ctx_host, ctx_state

from steelyard.api.change import FileWrite
from steelyard.api.unknown import Unknown
from steelyard.engine.plan import shown_command, split_title
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.lab.dify_stack.archive import write_archive
from steelyard.site.resolve import site_of

CASES = sorted(Path(__file__).parent.glob("*/*.yaml"))
GROUPS = {"gpu": ("gpu-1", "gpu-2"), "gateway": ("gw-1",), "mirror": ("mirror-1",)}


class Folded(str):
    """Text that YAML shows as a block."""


yaml.SafeDumper.add_representer(
    Folded, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def fleet_of(variables: dict[str, Any], more: dict[str, tuple[str, ...]]) -> Fleet:
    """Four hosts of three groups, and what a situation needs besides, all with the same variables."""
    groups = {**GROUPS, **more}
    hosts = tuple(
        FleetHost(name, ("all", group), {"ansible_host": f"10.0.0.{number}", **variables})
        for number, (group, name) in enumerate(
            ((group, name) for group, names in groups.items() for name in names), start=1
        )
    )
    everybody = {**groups, "all": tuple(host.name for host in hosts)}
    return Fleet(Path("inventory"), hosts, everybody, match=lambda pattern: list(everybody.get(pattern, ())))


def shown(command: Any) -> str:
    if isinstance(command, FileWrite) and not command.secret:
        try:
            return Folded(f"write {command.path}\n{command.content.decode()}")
        except UnicodeDecodeError:
            return f"write {command.path}, sha256 {hashlib.sha256(command.content).hexdigest()}"
    return shown_command(command).text


def found(role: str, case: dict[str, Any]) -> dict[str, Any]:
    """Tasks with their commands, and what is unknown, of one role on one host."""
    settings, hashed = with_release(case["settings"])
    fleet = fleet_of(settings, case.get("groups") or {})
    host_name = case["host"]
    unknowns: list[Unknown] = []
    data = {
        **fleet.host(host_name).variables,
        "site": site_of(fleet),
        "host_name": host_name,
        "file_unknown": unknowns.append,
        "host_groups": fleet.host(host_name).groups,
        "fake_delay": 0,
        "fake_delay_jitter": 0,
        "fake_responses": case.get("live") or {},
    }
    state = State(
        Inventory((["@fake/" + host_name], {}), **{"everybody": (["@fake/" + host_name], data)}),
        check_for_changes=False,
    )
    pyinfra.is_cli = True
    try:
        host = state.inventory.get_host("@fake/" + host_name)
        state.activate_host(host)
        with ctx_state.use(state), ctx_config.use(state.config.copy()), ctx_host.use(host):
            state.set_stage(StateStage.Connect)
            host.connect()
            state.set_stage(StateStage.Prepare)
            getattr(import_module(f"steelyard.roles.{role}"), role)()
            tasks = {
                split_title(state.op_meta[op].names)[1]: [
                    type(text)(text.replace(hashed, "HASH"))
                    for text in map(shown, state.ops[host][op].command_generator())
                ]
                for op in host.op_hash_order
            }
    finally:
        pyinfra.is_cli = False
    return {"tasks": tasks, "unknown": [f"{entry.what}: {entry.because}" for entry in unknowns]}


def with_release(settings: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The settings with the hash of the release of Dify that they name, which is made here: simulated, and packed as
    this zlib packs.
    """
    release = (settings.get("dify") or {}).get("release")
    if release is None:
        return settings, "no release"
    sha256 = write_archive(release["version"], Path(release["archive"]))
    return {**settings, "dify": {**settings["dify"], "release": {**release, "sha256": sha256}}}, sha256[:16]


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_plan_is_the_golden_one(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    result = found(path.parent.name, case)
    if os.environ.get("STEELYARD_WRITE_GOLDEN"):
        path.write_text(yaml.safe_dump({**case, **result}, sort_keys=False, width=140, allow_unicode=True))
    plain = yaml.safe_load(yaml.safe_dump(result))
    assert plain == {"tasks": case.get("tasks"), "unknown": case.get("unknown")}


def test_there_are_situations() -> None:
    assert len(CASES) >= 5
