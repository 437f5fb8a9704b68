"""One lab for the whole run, provisioned once by the real roles; each test leaves it in sync."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.lab_site import Site, assert_no_trace_since, steelyard, traces

from steelyard.lab.nspawn.record import require_lab

BEGUN = time.monotonic()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.fspath).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.lab)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A pipeline has an end, and one that is cut there says nothing: what would begin too late is not begun."""
    minutes = float(os.environ.get("STEELYARD_MINUTES", "inf"))
    if Path(item.fspath).is_relative_to(Path(__file__).parent) and time.monotonic() - BEGUN > minutes * 60:
        pytest.skip(f"{minutes:.0f} minutes were over before its turn came (STEELYARD_MINUTES)")


def pytest_report_header() -> str:
    """vLLM's CPU build takes other kernels where the processor has AMX: a run says which of both it tried."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*: (.*)$", cpuinfo, flags=re.M)
    tiles = re.search(r"\bamx_tile\b", cpuinfo)
    return f"processor: {name[1] if name else 'unknown'}, {'with' if tiles else 'without'} AMX"


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three hosts as an installer leaves them (or from kept layers), and nothing applied yet."""
    inventory = tmp_path_factory.mktemp("site") / "inventory"
    for left in ("test", "second"):  # by a run that was killed
        steelyard("lab", "down", "--name", left)
    before = traces("test")
    up = steelyard("lab", "up", "3", "--name", "test", "--inventory", str(inventory))
    assert up.returncode == 0, up.stderr
    yield Site(require_lab("test", "test"), inventory)
    down = steelyard("lab", "down", "--name", "test")
    assert down.returncode == 0, down.stderr
    assert_no_trace_since(before, "test")


@pytest.fixture(scope="session")
def site(bare: Site) -> Site:
    """Everything applied; what the roles installed is kept for the next run."""
    first = steelyard("apply", "-i", str(bare.inventory), "--yes")
    assert first.returncode == 0, first.stdout + first.stderr
    for machine in bare.lab.machines:
        if machine.lacks_layer:
            assert steelyard("lab", "snapshot", machine.host.name, "--name", "test").returncode == 0
    return bare


@pytest.fixture(scope="module", autouse=True)
def site_left_in_sync(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whoever leaves something behind is named, and not the tests after it that find it."""
    here = [item for item in request.session.items if item.path == request.path]
    shared = any("site" in getattr(item, "fixturenames", ()) for item in here)
    site = request.getfixturevalue("site") if shared else None
    yield
    if type(site) is Site:  # a module may have a lab of its own, which it takes down
        answer = site.json("drift")
        assert (answer["findings"], answer["errors"]) == ([], [])


@pytest.fixture(scope="session")
def gpu_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The lab of GPU hosts, everything applied; see gpu_hosts.py."""
    import gpu_hosts

    before = traces(gpu_hosts.NAME)
    yield gpu_hosts.ready(tmp_path_factory.mktemp("gpu-hosts") / "inventory")
    down = steelyard("lab", "down", "--name", gpu_hosts.NAME)
    assert down.returncode == 0, down.stderr
    assert_no_trace_since(before, gpu_hosts.NAME)


def pytest_sessionfinish() -> None:
    """What `make test-hosts` ends with, counted by the run itself."""

    target = os.environ.get("STEELYARD_COUNT_DRIFTS")
    if target:
        import gpu_hosts

        Path(target).write_text(json.dumps(gpu_hosts.COUNTED.figures()) + "\n")
