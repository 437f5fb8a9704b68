"""`status --watch` on a terminal: one screen for any number of hosts, and what is wrong stands first."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.terminal import Screen as Terminal

from steelyard.errors import HostSilent, HostUnreachable, SteelyardError
from steelyard.inventory.ansible import read_ansible
from steelyard.render.screen import Screen
from steelyard.render.watch import Look, Picture, picture, troubles
from steelyard.site.observed import Observed, service_rows
from steelyard.site.resolve import site_of
from steelyard_host.wire.rollout import OpenTrial, TrialState
from steelyard_host.wire.services import HostStatus, ProxyState, ServiceState, ServiceStatus

MODELS = """
models:
  llm/tiny:
    source: file:///srv/tiny
    version: v2
    serve: {hosts: gpu, port: 8000}
    alias: tiny
"""
SINCE = "Mon 2026-11-30 15:00:00 UTC"


def service(state: ServiceState = ServiceState.ACTIVE, version: str = "v2", trial: bool = False) -> ServiceStatus:
    opened = OpenTrial("r1", TrialState.SERVING, "/models/llm/tiny/v3", 60.0) if trial else None
    folder = f"/models/llm/tiny/{version}"
    return ServiceStatus("tiny", "steelyard-vllm@tiny", state, "running", SINCE, "success", 0, folder, {}, trial=opened)


def look_at(
    folder: Path,
    count: int,
    services: dict[int, ServiceStatus | None] | None = None,
    errors: dict[int, SteelyardError] | None = None,
    bare: frozenset[int] = frozenset(),
    down: frozenset[int] = frozenset(),
) -> Look:
    """A fleet of `count` GPU hosts in racks of 40; `services` that are not as all others, by the number of the host."""
    racks: dict[int, list[str]] = {}
    for number in range(count):
        racks.setdefault(number // 40, []).append(f"gpu-{number}")
    children = ", ".join(
        f"rack{rack}: {{hosts: {{{', '.join(f'{name}: ' for name in names)}}}}}" for rack, names in racks.items()
    )
    (folder / "group_vars" / "all").mkdir(parents=True)
    (folder / "hosts.yml").write_text(
        f"all: {{children: {{gpu: {{children: {{{children}}}}}, gateway: {{hosts: {{gw-1: }}}}}}}}\n"
    )
    (folder / "group_vars" / "all" / "models.yml").write_text(MODELS)
    fleet = read_ansible(folder)
    errors_by = {f"gpu-{number}": error for number, error in (errors or {}).items()}
    observed = Observed({"gw-1": HostStatus({}, ())})
    for number in range(count):
        name = f"gpu-{number}"
        if name not in errors_by:
            status = (services or {}).get(number, service())
            observed.hosts[name] = None if number in bare else HostStatus({}, (status,) if status else ())
    servers = {f"alias-tiny/gpu-{number}": "DOWN" if number in down else "UP" for number in range(count)}
    observed.gateways["gw-1"] = ProxyState("c", servers, dict.fromkeys(servers, 100), running={})
    names = tuple(host.name for host in fleet.hosts)
    rows = service_rows(site_of(fleet), observed, names)
    return Look(fleet, observed, rows, errors_by, ["gw-1"], "12:00:00Z")


def unreachable(number: int) -> SteelyardError:
    return HostUnreachable(where=f"gpu-{number}", why=f"no route to 10.0.0.{number}", address=f"10.0.0.{number}")


def silent(number: int) -> SteelyardError:
    return HostSilent(**{**HostSilent.sample, "where": f"gpu-{number}"})


def shown(look: Look, width: int = 100, height: int = 24) -> list[str]:
    return picture(Screen(no_color=True), look, 5, width, height)


def test_a_fleet_that_fits_has_a_line_a_host_and_the_wrong_ones_stand_first(tmp_path: Path) -> None:
    look = look_at(tmp_path, 5, {3: service(ServiceState.FAILED)}, {4: unreachable(4)}, bare=frozenset({2}))
    lines = shown(look, height=30)
    assert lines[0] == "12:00:00Z, every 5 s: 6 hosts, 1 silent, 1 not provisioned; 5 services, 3 amiss"
    names = [line.split()[0] for line in lines if line.startswith(("gpu", "gw"))]
    assert names == [
        *("gpu-4", "gpu-2", "gw-1", "gpu-0", "gpu-1", "gpu-3"),
        *("gpu-2", "gpu-3", "gpu-4", "gpu-0", "gpu-1"),
    ]


@pytest.mark.parametrize("count", [1, 5, 40, 500])
def test_no_picture_is_larger_than_the_terminal(tmp_path: Path, count: int) -> None:
    """Everything that can be wrong is."""
    wrong = {
        number: [service(ServiceState.FAILED), service(version="v1"), service(trial=True), None][number % 4]
        for number in range(0, count, 3)
    }
    errors = {number: (unreachable if number % 2 else silent)(number) for number in range(1, count, 50)}
    look = look_at(tmp_path, count, wrong, errors, frozenset(range(2, count, 9)), frozenset(range(4, count, 11)))
    for width, height in [(40, 8), (80, 23), (100, 50), (20, 3), (80, 1), (200, 700)]:
        lines = shown(look, width, height)
        assert 0 < len(lines) <= height
        assert max(map(len, lines)) <= width


def test_500_hosts_are_summed_up_by_group_and_what_is_wrong_is_said_once(tmp_path: Path) -> None:
    failed = dict.fromkeys((7, 81, 82), service(ServiceState.FAILED))
    look = look_at(
        tmp_path,
        500,
        {**failed, 90: service(version="v1"), 91: service(trial=True), 92: None},
        {number: unreachable(number) for number in range(400, 440)},
        frozenset({10}),
        frozenset({11}),
    )
    lines = shown(look, height=40)
    assert lines[:8] == [
        "12:00:00Z, every 5 s: 501 hosts, 40 silent, 1 not provisioned; 500 services, 48 amiss",
        "unreachable: 40 hosts: no route to the host (gpu-400, gpu-401, gpu-402, gpu-403, gpu-404, ...",
        "  gpu-439)",
        "failed: 3 hosts: tiny: failed (gpu-7, gpu-81, gpu-82)",
        "failed: gpu-11: tiny: at the gateway DOWN 100",
        "failed: gpu-92: tiny: not set up",
        "unknown: gpu-10: not provisioned",
        "notice: gpu-90: tiny: v1 (v2 declared)",
    ]
    assert lines[8] == "notice: gpu-91: tiny: on trial"
    assert [line.split() for line in lines[9:13]] == [
        ["GROUP", "HOSTS", "SILENT", "SERVICES", "ACTIVE", "AMISS"],
        ["gpu", "500", "40", "500", "455", "48"],
        ["rack10", "40", "40", "40", "0", "40"],
        ["rack2", "40", "0", "40", "37", "5"],
    ]
    assert len(lines) == 9 + 1 + 1 + 13 + 1


def test_what_has_no_room_is_counted(tmp_path: Path) -> None:
    look = look_at(tmp_path, 500, {7: service(ServiceState.FAILED)}, {number: silent(number) for number in range(3)})
    lines = shown(look, height=8)
    assert len(lines) == 8
    assert lines[0].startswith("12:00:00Z")
    assert lines[-1] == "and 12 groups more"
    many = {number: service(version=f"v0.{number}") for number in range(100)}
    lines = shown(look_at(tmp_path / "b", 500, many), height=10)
    assert "and 97 kinds of trouble more" in lines


def test_a_fleet_in_which_all_is_well_says_so(tmp_path: Path) -> None:
    look = look_at(tmp_path, 500)
    assert list(troubles(look)) == []
    assert shown(look)[0] == "12:00:00Z, every 5 s: 501 hosts; 500 services, all well"


def test_a_service_that_its_host_does_not_tell_of_is_told_of_once(tmp_path: Path) -> None:
    look = look_at(tmp_path, 3, errors={1: unreachable(1)}, bare=frozenset({2}))
    assert [(trouble.mark, trouble.host) for trouble in troubles(look)] == [
        ("unreachable", "gpu-1"),
        ("unknown", "gpu-2"),
    ]


def test_a_picture_is_drawn_over_the_one_before_and_nothing_of_it_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "12")
    terminal, drawn = Terminal(12, 60), Picture(Screen(no_color=True), 5)
    many = look_at(tmp_path / "a", 500, {number: service(version=f"v0.{number}") for number in range(100)})
    for look in (many, look_at(tmp_path / "b", 1), many):
        drawn.show(look)
        terminal.feed(capsys.readouterr().out.replace("\n", "\r\n"))
        assert terminal.gone == []
        assert terminal.lines == [line.rstrip() for line in shown(look, 60, 11)]
