"""Strategies by faults, on real hosts under load. Always: clean runs, and the gate that only live figures can test; the
others in turn, all of them with STEELYARD_FAULTS=all (`make test-faults`), which also writes
docs/how-it-works/faults.md and ends with the figures in one line. Cut short, it goes on where it was.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from faults import EXPECTED
from support.fault_rows import Ground, Row, run_row
from support.fault_table import Table
from support.gateway_pair import gateway_pair, shared_address
from support.lab_site import Site
from surroundings import PAIRED

STRATEGIES = ("reload", "swap", "sleep-swap", "surge")
STARTS = {  # rows of strategies that start an engine
    "weights do not fit the engine",
    "engine dies before it is ready",
    "engine exits 0 in its start",
    "engine hangs in its start",
}
SLEEPS = {"engine that sleeps dies"}
ROWS = [
    (strategy, name)
    for name in EXPECTED
    for strategy in STRATEGIES
    if (strategy != "reload" or name not in STARTS) and (strategy == "sleep-swap" or name not in SLEEPS)
]
ALWAYS = {
    ("reload", "none"),
    ("swap", "none"),
}
GATES = (("reload", "latency gate fails"), ("sleep-swap", "quality gate fails"))  # one of them each day
TURNS = 36  # a run takes so many-th of the other faults, others each day
# minutes each, because engines start again and again, and surge starts two of them: in the full matrix only
LONG = {
    "host reboots while it switches",
    "engine dies after it was switched",
    "engine dies before it is ready",
    "engine exits 0 in its start",
    "engine hangs in its start",
    "two operators at once",
    "engine that sleeps dies",
    "host's part of it is killed",
}


KEPT_IN = os.environ.get("STEELYARD_FAULTS_TABLE")
TABLE = Table(Path(KEPT_IN) if KEPT_IN else None)


def chosen() -> list[tuple[str, str]]:
    if os.environ.get("STEELYARD_FAULTS") == "all":
        return [row for row in ROWS if row not in TABLE.passed()]
    day = int(time.time() // 86400)
    always = {*ALWAYS, GATES[day % len(GATES)]}
    short = [row for row in ROWS if row[0] != "surge" and row[1] not in LONG]
    return [row for number, row in enumerate(short) if row in always or (number + day) % TURNS == 0]


@pytest.fixture(scope="module")
def ground(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground.on(site, tmp_path_factory.mktemp("rollout"))
    yield made
    made.settle("v1")
    made.clear()
    assert site.changed("plan") == {}


@pytest.fixture(scope="module")
def paired(ground: Ground, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The same behind two gateways; after the other rows, so that it is gone before `ground` is."""
    folder = tmp_path_factory.mktemp("paired")
    ground.settle("v1")
    with gateway_pair(site, site.copy(folder / "pair")) as pair:
        made = Ground.on(pair, folder, shared_address(pair))
        yield made
        made.settle("v1")


@pytest.mark.parametrize(("strategy", "name"), chosen())
def test_no_request_fails_whatever_happens_to_a_rollout(
    request: pytest.FixtureRequest, strategy: str, name: str
) -> None:
    work, exits, serves = EXPECTED[name]
    row = run_row(request.getfixturevalue("paired" if name in PAIRED else "ground"), strategy, name, work)
    print(json.dumps(asdict(row)))
    wrong = why_wrong(row, exits, serves)
    TABLE.keep(row, not wrong)
    assert not wrong, row


def why_wrong(row: Row, exits: set[int], serves: set[str]) -> list[str]:
    """Sentences; none where the row is as it has to be."""
    holds = {
        f"it ended with one of {exits}": row.exit in exits,
        f"one of {serves} serves": row.serves in serves,
        "what it said is what serves": (row.exit, row.serves) not in ((0, "v1"), (5, "next")),
        "its end is known": row.known,
        "no request failed": row.failed == 0,
        "no answer mixes versions": row.mixed == 0,
        "there was a load": row.requests > 3,
    }
    return [f"not so: {claim}" for claim, true in holds.items() if not true]
