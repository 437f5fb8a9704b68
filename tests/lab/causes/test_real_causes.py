"""Engines that cannot start, or die, on a real host: the first line of what `apply` says names the cause.

A few rows a day, others each day; all of them with STEELYARD_CAUSES=all (`make test-causes`), which ends with the
figures in one line.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from broken import END, NAME, ROWS, Row, begin, forget_limits, limit_memory, memory_is_counted
from support import tiny_gguf
from support.lab_site import Site, first_process, on_host, steelyard

from steelyard.artifacts.helper import RUN_HELPER
from steelyard.engine.execute import engine_failed
from steelyard.errors import EngineFailed, show
from steelyard.modules.operations.unit import return_command

HOST = "gpu-1"
TURNS = {"vllm": 16, "llamacpp": 6}  # a run takes so many-th of an engine's rows, others each day
KEPT_IN = os.environ.get("STEELYARD_CAUSES_COUNTS")
ALL = os.environ.get("STEELYARD_CAUSES") == "all"
COUNTS = {"failures": 0, "cause_in_first_line": 0}


def chosen() -> list[Row]:
    if ALL:
        return ROWS
    day = int(time.time() // 86400)
    return [row for number, row in enumerate(ROWS) if (number + day) % TURNS[row.engine] == 0]


@pytest.fixture(scope="module")
def refused(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Site, subprocess.CompletedProcess[str]]]:
    """A service that cannot start is declared: the site with its inventory, and what `apply` said. Both engines are
    installed by it.
    """
    weights, inventory = tmp_path_factory.mktemp("gguf"), site.copy(tmp_path_factory.mktemp("causes"))
    tiny_gguf.make(weights / "small/v1", 1)
    path = inventory / "group_vars/all/models.yml"
    declared = yaml.safe_load(path.read_text())
    serve = {"engine": "llamacpp", "hosts": HOST, "port": 8010, "max_model_len": 256, "gpu_memory_utilization": 0.4}
    declared["models"]["gguf/small"] = {
        "source": f"file://{weights}/small/v1",
        "version": "v1",
        "alias": "small",
        "serve": serve | {"options": {"n_threads": 1, "n_batch": "many"}},
    }
    path.write_text(yaml.safe_dump(declared))
    done = steelyard("apply", "-i", str(inventory), "--yes", "-l", HOST)
    yield Site(site.lab, inventory), done
    if KEPT_IN:
        Path(KEPT_IN).write_text(json.dumps(COUNTS) + "\n")
    on_host(site, HOST, END)
    forget_limits()
    assert steelyard("apply", "-i", str(site.inventory), "--yes", "--prune").returncode == 0
    assert site.changed("plan") == {}


def test_apply_says_the_cause_first_and_everyone_after_it(
    refused: tuple[Site, subprocess.CompletedProcess[str]],
) -> None:
    site, done = refused
    cause, fix = "option `n_batch` cannot be 'many'", "set `n_batch` under `serve.options` in models.yml"
    assert done.returncode == 3, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: {HOST}: service small: {cause}"]
    assert f"fix: {fix}" in done.stderr
    assert f"{HOST}: | " not in done.stderr, "the log itself is for -v"
    [host] = [host for host in site.json("status")["hosts"] if host["host"] == HOST]
    causes = {service["name"]: service["cause"] for service in host["status"]["services"]}
    assert causes["small"]["code"] == "option-value"
    words = steelyard("status", "-i", str(site.inventory), "-l", HOST).stdout
    assert f"{HOST}: small: {cause}\n  fix: {fix}" in words
    found = json.loads(steelyard("doctor", "-i", str(site.inventory), "--hosts", "-l", HOST, "--json").stdout)[
        "findings"
    ]
    assert [each["live"] for each in found if each["code"] == "doctor.service"] == [cause]
    drifted = json.loads(steelyard("drift", "-i", str(site.inventory), "-l", HOST, "--json").stdout)["findings"]
    [token] = [each for each in drifted if each["code"] == "vllm.gives-a-token"]
    assert (token["live"], token["fix"].startswith(fix)) == (cause, True)


@pytest.mark.parametrize("row", chosen(), ids=lambda row: row.name)
def test_the_first_line_names_the_cause(refused: tuple[Site, subprocess.CompletedProcess[str]], row: Row) -> None:
    site, _ = refused
    COUNTS["failures"] += 1
    error = failure(site, row)
    first = show(error).splitlines()[0]
    print(f"{row.name}: {first}\n    {error.remedy}")
    named = error.code == row.code and all(part in first for part in row.says)
    COUNTS["cause_in_first_line"] += named
    assert named, (error.code, show(error))
    assert row.mends in error.remedy


def failure(site: Site, row: Row) -> EngineFailed:
    """What `apply` would raise: its own command starts the unit, and the lines it ends with are read as it reads
    them.
    """
    on_host(site, HOST, begin(row))
    start = return_command(row.service, "inactive").get_raw_value()
    if row.serves:
        on_host(site, HOST, start)
    counted = memory_is_counted(site, HOST)
    if row.memory_mib and counted:
        limit_memory(site, HOST, row)
    words = ["nsenter", "-t", first_process(site, HOST), "-a", "sh", "-c"]
    starting = subprocess.Popen([*words, "true" if row.serves else start], stderr=subprocess.PIPE, text=True)
    if row.memory_mib and not counted:
        limit_memory(site, HOST, row)
    on_host(site, HOST, row.meanwhile or "true")
    lines = starting.communicate()[1].splitlines()
    if starting.returncode == 0:  # it served, or systemd left it alone
        on_host(
            site,
            HOST,
            (
                f"until test $(systemctl is-active {row.service}) != active; do sleep 0.1; done; systemctl "
                f"stop {row.service}"
            ),
        )
        lines = on_host(site, HOST, f"{RUN_HELPER} cause {row.service} 2>&1").splitlines()
    error = engine_failed(HOST, "vllm | Run the service", lines)
    assert error is not None, lines
    assert error.service == NAME
    return error
