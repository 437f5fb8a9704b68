"""The engine on real hosts: what a look costs, saved plans, the lock, the audit lines, waves and resuming."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.lab_site import ROOT, STEELYARD, Site, steelyard

from steelyard.engine.audit import controllers_log

FORTY = ROOT / "tests/bench/forty"
COST = re.compile(r"(\S+): ssh: (\d+) connections?, (\d+) channels?, (\d+) round trips? for (\d+) facts?")


def costs(site: Site, command: str, deploy: Path, *words: str) -> dict[str, tuple[int, int, int]]:
    """Connections, channels and round trips of each host."""
    done = steelyard(command, "-i", str(site.inventory), "--deploy", str(deploy), "-v", *words)
    assert done.returncode in (0, 2), done.stderr
    return {found[1]: (int(found[2]), int(found[3]), int(found[4])) for found in COST.finditer(done.stderr)}


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    return tmp_path / "mine.py"


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def first_apply(bare: Site) -> dict[str, tuple[int, int, int]]:
    return costs(bare, "apply", FORTY / "ours.py", "--yes")


@pytest.fixture(scope="module")
def forty(bare: Site, first_apply: dict[str, tuple[int, int, int]]) -> Site:
    return bare


def test_a_first_apply_of_forty_tasks_costs_a_handful_of_round_trips(
    bare: Site, first_apply: dict[str, tuple[int, int, int]]
) -> None:
    assert {host: trips <= 15 for host, (_, _, trips) in first_apply.items()} == dict.fromkeys(
        ["mirror-1", "gw-1", "gpu-1"], True
    ), first_apply
    log = [json.loads(line) for line in bare.sh("gw-1", "cat /var/log/steelyard/audit.log").splitlines()]
    told = [line["task"] for line in log if line["doing"].endswith("forty/ours.py")]
    assert "deploy | Write file 3" in told
    assert len(told) == len(set(told)) >= 25, "each change has a line, once and in its own name"


def test_forty_tasks_cost_three_round_trips_at_most_where_nothing_is_known(
    forty: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = costs(forty, "plan", FORTY / "ours.py")
    assert len(found) == 3
    assert all(trips <= 3 for _, _, trips in found.values()), found


@pytest.mark.parametrize("command", ["plan", "drift", "apply"])
def test_forty_tasks_in_sync_cost_one_round_trip(forty: Site, command: str) -> None:
    costs(
        forty, "drift" if command == "drift" else "plan", FORTY / "ours.py"
    )  # drift keeps a list of its own: it asks more
    found = costs(forty, command, FORTY / "ours.py", *(["--yes"] if command == "apply" else []))
    assert found == dict.fromkeys(["mirror-1", "gw-1", "gpu-1"], (1, 1, 1))


def test_stock_operations_cost_one_round_trip_too(forty: Site) -> None:
    """The same tasks with pyinfra's own operations, unmodified, under our engine."""
    costs(forty, "plan", FORTY / "stock.py")
    found = costs(forty, "plan", FORTY / "stock.py")
    assert set(found.values()) == {(1, 1, 1)}


def test_a_changed_deploy_costs_two_more_once(forty: Site, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FORTY, tmp_path / "forty"))
    costs(forty, "plan", folder / "ours.py")
    with (folder / "ours.py").open("a") as file:
        file.write('link(name="Another", path="/opt/forty/link0", target="/opt/forty/file0")\n')
        file.write('value(name="One more", key="net.ipv4.tcp_retries2", value="15")\n')
        file.write('file(name="And one", path="/opt/forty/file0", content="file 0\\n" * 100)\n')
    first, second = costs(forty, "plan", folder / "ours.py"), costs(forty, "plan", folder / "ours.py")
    assert all(trips <= 3 for _, _, trips in first.values()), first
    assert set(second.values()) == {(1, 1, 1)}


def test_a_repair_reads_ahead_instead_of_asking_one_by_one(forty: Site) -> None:
    """One file of forty tasks is mended: the command itself, the plan's look, the look under the lock, and a few
    more.
    """
    forty.sh("gw-1", "rm /opt/forty/file1")
    found = costs(forty, "apply", FORTY / "ours.py", "--yes", "-l", "gw-1")
    assert found["gw-1"][0] == 1
    assert found["gw-1"][1] == 1
    assert found["gw-1"][2] <= 10, found


# Saved plans


def test_a_saved_plan_is_carried_out_as_it_is(forty: Site, tmp_path: Path) -> None:
    forty.sh("gw-1", "rm /opt/forty/file1")
    saved = tmp_path / "site.plan"
    inventory, mine = str(forty.inventory), str(FORTY / "ours.py")
    assert steelyard("plan", "-i", inventory, "--deploy", mine, "-o", str(saved)).returncode == 2
    assert saved.stat().st_mode & 0o777 == 0o600
    assert "Write file 1" in saved.read_text()
    done = steelyard("apply", str(saved), "--json")
    assert done.returncode == 0, done.stderr
    changed = {host["host"]: [task["name"] for task in host["tasks"]] for host in json.loads(done.stdout)["hosts"]}
    assert changed == {"mirror-1": [], "gw-1": ["Write file 1"], "gpu-1": []}


@pytest.mark.parametrize("moved", ["the host", "the deploy"])
def test_a_saved_plan_is_refused_with_the_difference_where_something_moved(
    forty: Site, tmp_path: Path, moved: str
) -> None:
    folder = Path(shutil.copytree(FORTY, tmp_path / "forty"))
    forty.sh("gw-1", "rm /opt/forty/file1")
    saved = tmp_path / "site.plan"
    assert (
        steelyard("plan", "-i", str(forty.inventory), "--deploy", str(folder / "ours.py"), "-o", str(saved)).returncode
        == 2
    )
    if moved == "the host":
        forty.sh("gpu-1", "rm /opt/forty/link0")
        told = "+ gpu-1: deploy.link-0"
    else:
        text = (folder / "ours.py").read_text()
        (folder / "ours.py").write_text(text.replace("* 100)", "* 99)"))
        told = "+ gw-1: deploy.write-file-1"
    done = steelyard("apply", str(saved))
    assert done.returncode == 1, done.stdout
    assert told in done.stderr
    assert "nothing was changed" in done.stderr
    assert forty.sh("gw-1", "ls /opt/forty | grep -c '^file1$'", check=False).strip() == "0"
    assert steelyard("apply", "-i", str(forty.inventory), "--deploy", str(FORTY / "ours.py"), "--yes").returncode == 0


def test_a_file_that_is_no_plan_is_told(tmp_path: Path) -> None:
    path = tmp_path / "torn.plan"
    for text in ("", "{}", '{"steelyard_plan": 99}', "[1]"):
        path.write_text(text)
        done = steelyard("apply", str(path))
        assert (done.returncode, "not a plan that" in done.stderr) == (1, True), text


# The lock


SLOW = """
from pyinfra.context import host
from pyinfra.operations import server
server.shell(name="Take time", commands=["sleep 20"])
"""


def wait_for(what: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def lock(site: Site) -> dict[str, Any] | None:
    done = steelyard("lock", "show", "-i", str(site.inventory), "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] | None = json.loads(done.stdout)["lock"]
    return found


def test_one_apply_at_a_time_and_a_killed_one_is_taken_over(forty: Site, deploy: Path) -> None:
    deploy.write_text(SLOW)
    words = ["apply", "-i", str(forty.inventory), "--deploy", str(deploy), "--yes", "-l", "gpu-1"]
    first = subprocess.Popen([STEELYARD, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: lock(forty) is not None)
        held = lock(forty)
        assert held is not None
        assert (held["pid"], held["doing"], held["keeper"]) == (first.pid, f"apply {deploy}", "mirror-1")
        assert (sorted(held["keepers"]), held["unreadable"]) == (["gpu-1", "gw-1", "mirror-1"], False)
        second = steelyard("apply", "-i", str(forty.inventory), "--deploy", str(deploy), "--yes", "-l", "gw-1")
        assert second.returncode == 3
        assert f"the fleet is locked by {held['who']} from {held['host']} (pid {first.pid})" in second.stderr
        assert "steelyard lock break" in second.stderr
    finally:
        first.kill()
        first.wait()
    assert lock(forty) is not None, "a killed run leaves its lock"
    deploy.write_text(SLOW.replace("sleep 20", "true"))
    third = steelyard("apply", "-i", str(forty.inventory), "--deploy", str(deploy), "--yes", "-l", "gw-1")
    assert third.returncode == 0, third.stderr
    assert "the run that held the lock is gone" in third.stderr
    assert lock(forty) is None


FOREIGN = """
import steelyard.engine.gevent_patch
from dataclasses import replace
from pathlib import Path
from steelyard.engine.run_owner import RunOwner
from steelyard.events import ignore
from steelyard.workflows.run_context import RunOptions, fleet_lock, read
options = RunOptions(Path({inventory!r}))
with fleet_lock(options, read(options, ignore), ignore) as kept:
    kept.ttl_s = {seconds}
    kept.connect()
    kept.take(replace(RunOwner.here("apply site"), host="elsewhere", machine="another", user="anna", pid=1))
"""


def foreign(site: Site, seconds: int) -> None:
    """A lock of another machine, that ends in so many seconds."""
    program = FOREIGN.format(inventory=str(site.inventory), seconds=seconds)
    subprocess.run([sys.executable, "-c", program], check=True)


def foreign_and_older(site: Site, seconds: int) -> None:
    """The same, of a controller that writes no record."""
    from dataclasses import replace

    from steelyard.engine.run_owner import RunOwner

    other = replace(RunOwner.here("apply site"), host="elsewhere", user="anna", pid=1).as_json()
    stored = {key: value for key, value in other.items() if key not in ("machine", "pid_namespace")}
    site.sh("mirror-1", "mkdir -p /var/lib/steelyard/lock")
    site.sh("mirror-1", f"echo '{json.dumps(stored)}' >/var/lib/steelyard/lock/owner")
    site.sh("mirror-1", f"echo $(($(date +%s) + {seconds})) >/var/lib/steelyard/lock/until")


@pytest.mark.parametrize("locked", [foreign, foreign_and_older], ids=["of this version", "of one before"])
def test_a_lock_of_another_machine_holds_until_it_ends_or_is_broken(
    forty: Site, deploy: Path, locked: Callable[[Site, int], None]
) -> None:
    deploy.write_text(SLOW.replace("sleep 20", "true"))
    words = ["apply", "-i", str(forty.inventory), "--deploy", str(deploy), "--yes", "-l", "gw-1"]
    locked(forty, 300)
    refused = steelyard(*words)
    assert (refused.returncode, "locked by anna from elsewhere" in refused.stderr) == (3, True)
    asked = steelyard("lock", "break", "-i", str(forty.inventory))
    assert (asked.returncode, "there is no terminal" in asked.stderr) == (1, True)
    broken = steelyard("lock", "break", "-i", str(forty.inventory), "--yes")
    assert (broken.returncode, "broken: anna from elsewhere" in broken.stdout) == (0, True)
    assert steelyard(*words).returncode == 0
    locked(forty, 2)
    wait_for(lambda: steelyard(*words).returncode == 0)  # a lock that has ended is in nobody's way


def test_a_run_notices_that_its_lock_was_taken_away(forty: Site) -> None:
    """With a heartbeat of three seconds instead of two and a half minutes."""
    program = f"""
import steelyard.engine.gevent_patch, gevent
from pathlib import Path
from steelyard.workflows.run_context import RunOptions, fleet_lock, read
from steelyard.engine.lock import held_lock
from steelyard.engine.run_owner import RunOwner
from steelyard.events import ignore
options, lost = RunOptions(Path({str(forty.inventory)!r})), []
with fleet_lock(options, read(options, ignore), ignore) as kept:
    kept.ttl_s = 12
    with held_lock(kept, RunOwner.here("test"), lost.append):
        gevent.sleep(4)
        print("held", len(lost), flush=True)
        input()
        gevent.sleep(4)
        print("lost", type(lost[0]).__name__, flush=True)
"""
    run = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdin is not None
    assert run.stdout is not None
    assert run.stdout.readline() == "held 0\n", "it is renewed while it is held"
    assert steelyard("lock", "break", "-i", str(forty.inventory), "--yes").returncode == 0
    run.stdin.write("\n")
    run.stdin.flush()
    assert run.stdout.readline() == "lost LockLost\n"
    assert run.wait(30) == 0


def test_the_lock_is_renewed_over_a_new_connection_where_the_first_is_gone(forty: Site) -> None:
    """As after a reboot of its keeper: the lock lies on that host's disk."""
    program = f"""
import steelyard.engine.gevent_patch
from pathlib import Path
from steelyard.workflows.run_context import RunOptions, fleet_lock, read
from steelyard.engine.run_owner import RunOwner
from steelyard.events import ignore
options, origin = RunOptions(Path({str(forty.inventory)!r})), RunOwner.here("test")
with fleet_lock(options, read(options, ignore), ignore) as kept:
    kept.connect()
    kept.take(origin)
    kept.host.connector.client.close()
    kept.renew(origin)
    print([held.owner.run for held in kept.show()] == [origin.run])
    kept.release(origin)
    print(kept.show())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "[]"], done.stderr


# Audit


def test_every_change_is_a_line_on_the_host_and_on_the_controller(forty: Site, tmp_path: Path) -> None:
    forty.sh("gw-1", "rm /opt/forty/file2; rm -f /var/log/steelyard/audit.log")
    assert steelyard("apply", "-i", str(forty.inventory), "--deploy", str(FORTY / "ours.py"), "--yes").returncode == 0
    [there] = [json.loads(line) for line in forty.sh("gw-1", "cat /var/log/steelyard/audit.log").splitlines()]
    [here] = [json.loads(line) for line in controllers_log().read_text().splitlines()]
    assert (there["task"], there["change"], there["exit"]) == ("deploy | Write file 2", "write /opt/forty/file2", 0)
    assert (here["host"], here["task"], here["subject"]) == ("gw-1", "deploy | Write file 2", "/opt/forty/file2")
    assert there["run"] == here["run"]
    assert forty.sh("gw-1", "stat -c %a /var/log/steelyard").strip() == "750"
    assert steelyard("apply", "-i", str(forty.inventory), "--deploy", str(FORTY / "ours.py"), "--yes").returncode == 0
    assert len(forty.sh("gw-1", "cat /var/log/steelyard/audit.log").splitlines()) == 1, "no change, no line"


# Waves and resuming


UNEVEN = """
from pyinfra.operations import server
server.shell(name="Mark", commands=["touch /run/marked; date +%s%N >> /run/order"])
server.shell(name="Need", commands=["test -e /run/needed"])
server.shell(name="End", commands=["echo >> /run/ended"])
"""


def test_resume_runs_what_is_left_and_nothing_else(forty: Site, deploy: Path) -> None:
    deploy.write_text(UNEVEN)
    for name in ("mirror-1", "gw-1", "gpu-1"):
        forty.sh(
            name,
            "rm -f /run/marked /run/ended /run/order /run/needed" + ("" if name == "gw-1" else "; touch /run/needed"),
        )
    nothing = steelyard("apply", "-i", str(forty.inventory), "--deploy", str(deploy), "--resume", "--yes")
    assert (nothing.returncode, "there is no earlier apply of `mine`" in nothing.stderr) == (1, True)
    first = steelyard("apply", "-i", str(forty.inventory), "--deploy", str(deploy), "--yes")
    assert first.returncode == 3
    assert "error: gw-1: task `deploy | Need` failed: exit 1: `test -e /run/needed`" in first.stderr
    assert "failed: gw-1" in first.stdout
    assert forty.sh("gw-1", "ls /run/ended", check=False) == "", "after a failed step the next one is not tried"
    forty.sh("gw-1", "touch /run/needed")
    again = steelyard("apply", "-i", str(forty.inventory), "--deploy", str(deploy), "--resume", "--yes", "--json")
    assert again.returncode == 0, again.stderr
    assert [host["host"] for host in json.loads(again.stdout)["hosts"]] == ["gw-1"]
    assert len(forty.sh("mirror-1", "cat /run/ended").splitlines()) == 1, "a host that was done is left alone"
    third = steelyard("apply", "-i", str(forty.inventory), "--deploy", str(deploy), "--resume", "--yes")
    assert (third.returncode, "the last apply left none" in third.stderr) == (0, True)


def test_waves_go_one_after_the_other_and_stop_where_too_many_failed(forty: Site, deploy: Path) -> None:
    deploy.write_text(UNEVEN)
    for name in ("mirror-1", "gw-1", "gpu-1"):
        forty.sh(
            name,
            "rm -f /run/marked /run/ended /run/order /run/needed" + ("" if name == "gw-1" else "; touch /run/needed"),
        )
    done = steelyard("apply", "-i", str(forty.inventory), "--deploy", str(deploy), "--yes", "--serial", "1", "--json")
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert {host["host"]: host["outcome"] for host in answer["hosts"]} == {
        "mirror-1": "changes",
        "gw-1": "failed",
        "gpu-1": "skipped",
    }
    assert answer["stopped"]["error"] == "TooManyFailed"
    assert forty.sh("gpu-1", "ls /run/marked", check=False) == ""
    rest = steelyard(
        "apply", "-i", str(forty.inventory), "--deploy", str(deploy), "--yes", "--serial", "50%", "--max-fail", "1"
    )
    assert rest.returncode == 3
    assert "wave 3 of 3: gpu-1" in rest.stderr
    assert forty.sh("gpu-1", "ls /run/ended").strip() == "/run/ended"
    stamps = [int(forty.sh(name, "tail -1 /run/order")) for name in ("mirror-1", "gw-1", "gpu-1")]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize(("option", "value"), [("--serial", "0"), ("--serial", "many"), ("--max-fail", "150%")])
def test_a_wrong_share_is_told_before_a_connection(forty: Site, option: str, value: str) -> None:
    done = steelyard("apply", "-i", str(forty.inventory), option, value, "--yes")
    assert (done.returncode, f"error: {option}: `{value}` is neither" in done.stderr) == (1, True)
