"""`status`: what is declared beside what runs, what gateways see of it, and what changes between two looks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from test_settings import MODELS, fleet_with

from steelyard.inventory.ansible import read_ansible
from steelyard.inventory.fleet import Fleet
from steelyard.render.fleet import status_document
from steelyard.render.services import age, gateway_view, services_table, trial_lines, version
from steelyard.site.observed import Observed, ServiceRow, changes, service_rows
from steelyard.site.resolve import site_of
from steelyard.site.site import Site
from steelyard_host.wire.rollout import OpenTrial, TrialState
from steelyard_host.wire.services import HostStatus, ProxyState, ServiceState, ServiceStatus

NOW = datetime(2026, 11, 30, 16, tzinfo=UTC)
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/schemas/steelyard.schema.json").read_text())


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return read_ansible(fleet_with(tmp_path, MODELS))


@pytest.fixture
def site(fleet: Fleet) -> Site:
    return site_of(fleet)


def seen(site: Site, mounted: str | None = None, trial: OpenTrial | None = None, up: str = "UP") -> Observed:
    [service] = [entry for entry in site.services if entry.alias][:1]
    folder = mounted or f"/models/{service.model}/{service.version}"
    since = "Mon 2026-11-30 15:00:00 UTC"
    live = ServiceStatus(
        service.name, service.unit, ServiceState.ACTIVE, "running", since, "success", 0, folder, {}, trial=trial
    )
    server = f"alias-{service.name}/{service.host}"
    state = ProxyState("c", {server: up}, {server: 100}, running={server: 2, server + "-late": 1})
    return Observed({service.host: HostStatus({}, (live,))}, {"gw-1": state})


def row_of(site: Site, observed: Observed) -> ServiceRow:
    [service] = [entry for entry in site.services if entry.alias][:1]
    return next(row for row in service_rows(site, observed, (service.host,)) if row.name == service.name)


def test_a_service_as_declared_and_seen_by_its_gateway(site: Site) -> None:
    row = row_of(site, seen(site))
    assert row.declared is not None
    assert (version(row), row.state) == (row.declared.version, "active")
    assert gateway_view(row, asked=True) == "UP 100, 3 running"
    assert services_table([row], NOW, asked=True) is not None


def test_another_version_than_the_declared_one_is_told_with_both(site: Site) -> None:
    row = row_of(site, seen(site, mounted="/models/x/v0"))
    assert row.declared is not None
    assert version(row) == f"v0 ({row.declared.version} declared)"


def test_a_silent_host_keeps_its_row_and_a_silent_gateway_is_not_down(site: Site) -> None:
    [service] = [entry for entry in site.services if entry.alias][:1]
    row = row_of(site, Observed())
    assert (row.state, version(row)) == ("unknown", f"- ({service.version} declared)")
    assert gateway_view(row, asked=False) == "unknown"
    assert gateway_view(row_of(site, Observed({}, {"gw-1": ProxyState("c")})), asked=True) == "not there"


def test_gateways_that_differ_are_told_apart(site: Site) -> None:
    one, two = seen(site), seen(site, up="DOWN")
    both = Observed(one.hosts, {**one.gateways, "gw-2": two.gateways["gw-1"]})
    assert gateway_view(row_of(site, both), asked=True) == "gw-1: UP 100; gw-2: DOWN 100, 6 running"


def test_an_open_trial_says_when_it_ends(site: Site) -> None:
    row = row_of(site, seen(site, trial=OpenTrial("/models/x/v2", TrialState.SERVING, "r1", left_s=250.4)))
    [line] = trial_lines([row])
    assert "v2 on trial (serving), undone in 250 s unless confirmed; run r1" in line
    assert row.as_json()["trial"] == {"version": "v2", "state": "serving", "run": "r1", "by": "", "left_s": 250.4}


def test_what_changed_between_two_looks_is_a_line_each_and_requests_are_none(site: Site) -> None:
    before, after = row_of(site, seen(site)), row_of(site, seen(site, mounted="/models/x/v9", up="DOWN"))
    assert changes([before], [before]) == []
    lines = changes([before], [after])
    assert [line.split(": ", 2)[2].split(" ")[0] for line in lines] == ["version", "at"]
    assert changes([before], []) == [f"{before.host}: {before.name}: gone"]


def test_the_document_is_what_the_schema_says(fleet: Fleet, site: Site) -> None:
    for observed in (seen(site), seen(site, trial=OpenTrial("/m/v2", TrialState.SERVING, "r1")), Observed()):
        rows = service_rows(site, observed, tuple(host.name for host in fleet.hosts))
        content = status_document(fleet, observed, rows, {})
        jsonschema.validate(json.loads(json.dumps({"command": "status", "version": 2, **content})), SCHEMA)


@pytest.mark.parametrize(
    ("since", "told"),
    [
        ("Mon 2026-11-30 15:59:30 UTC", "30 s"),
        ("Mon 2026-11-30 15:00:00 UTC", "60 min"),
        ("Mon 2026-11-30 06:00:00 UTC", "10 h"),
        ("Fri 2026-11-20 16:00:00 UTC", "10 days"),
        ("Mon 2026-11-30 16:00:05 UTC", "0 s"),
        ("", "-"),
        ("n/a", "-"),
    ],
)
def test_an_age_has_one_unit(since: str, told: str) -> None:
    assert age(since, NOW) == told
