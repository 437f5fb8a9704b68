"""llama.cpp as a second engine, and services that start with their first request: real llama.cpp, real requests, tiny
weights.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from support import tiny_gguf
from support.lab_site import STEELYARD, Site, on_host, steelyard

from steelyard.lab.load import PROMPTS, LoadGenerator, ask, texts_of

IDLE_S = 6
HOST = "gpu-1"
TINY = "steelyard-vllm@tiny.service"
SMALL, OTHER = "steelyard-llamacpp@small.service", "steelyard-llamacpp@other.service"


class Fleet(Site):
    """The site with two llama.cpp services beside vLLM's, in an inventory of its own."""

    def serve(self, **models: dict[str, Any]) -> None:
        """Change `serve` settings of `small` and `other`, or the version, and apply."""
        path = self.inventory / "group_vars/all/models.yml"
        declared = yaml.safe_load(path.read_text())
        for name, news in models.items():
            model = declared["models"][f"gguf/{name}"]
            model["serve"] |= {key: value for key, value in news.items() if key != "version"}
            if "version" in news:
                folder = model["source"].rsplit("/", 1)[0]
                model |= {"version": news["version"], "source": f"{folder}/{news['version']}"}
        path.write_text(yaml.safe_dump(declared))

    def apply_once(self) -> None:
        done = steelyard("apply", "-i", str(self.inventory), "--yes")
        assert done.returncode == 0, done.stdout + done.stderr

    def apply(self) -> None:
        self.apply_once()
        assert self.changed("plan") == {}

    def state(self, unit: str) -> str:
        return self.sh(HOST, f"systemctl is-active {unit}", check=False).strip()

    def pid(self, unit: str) -> str:
        return self.sh(HOST, f"systemctl show {unit} -p MainPID --value").strip()

    def user(self, unit: str) -> str:
        return self.sh(HOST, f"stat -c %U /proc/{self.pid(unit)}").strip()

    def until(self, unit: str, wanted: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (now := self.state(unit)) != wanted:
            assert time.monotonic() < end, f"{unit} is {now} after {seconds} s"
            time.sleep(0.5)

    @property
    def door(self) -> tuple[str, int, str]:
        return self.address("gw-1"), 8080, self.secrets["demo_client_key"]

    def say(self, alias: str) -> str:
        return ask(*self.door, alias, PROMPTS[0], stream=False)

    def load(self, alias: str, texts: dict[str, dict[str, str]]) -> LoadGenerator:
        return LoadGenerator(*self.door, alias, texts, clients=3)


@pytest.fixture(scope="module")
def fleet(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """`small` always runs to begin with, `other` is lazy; taken off the host again at the end, by declaring them no
    more.
    """
    weights, inventory = tmp_path_factory.mktemp("gguf"), site.copy(tmp_path_factory.mktemp("second"))
    for name in ("small", "other"):
        for version, seed in (("v1", 1), ("v2", 2)):
            tiny_gguf.make(weights / name / version, seed)
    path = inventory / "group_vars/all/models.yml"
    declared = yaml.safe_load(path.read_text())
    for name, port, load in (("small", 8010, "preload"), ("other", 8011, "lazy")):
        serve = {
            "engine": "llamacpp",
            "hosts": HOST,
            "port": port,
            "load": load,
            "idle_s": IDLE_S,
            "max_model_len": 256,
        }
        serve["gpu_memory_utilization"] = 0.4  # tiny has one of the two, simulated ones; these share the other
        serve["options"] = {"n_threads": 1}
        declared["models"][f"gguf/{name}"] = {
            "source": f"file://{weights}/{name}/v1",
            "version": "v1",
            "alias": name,
            "serve": serve,
        }
    path.write_text(yaml.safe_dump(declared))
    made = Fleet(site.lab, inventory)
    made.apply()
    yield made
    assert steelyard("apply", "-i", str(site.inventory), "--yes", "--prune").returncode == 0
    left = on_host(site, HOST, "ls /etc/steelyard/services; systemctl list-units --no-legend 'steelyard-l*'; ss -ltn")
    assert "small" not in left
    assert "other" not in left
    assert "steelyard_tiny" in on_host(site, HOST, "getent passwd")
    assert not {"steelyard_small", "steelyard_other"} & set(on_host(site, HOST, "getent passwd | cut -d: -f1").split())
    assert ":8010 " not in left
    assert site.changed("plan") == {}


def test_a_gguf_is_served_behind_the_same_endpoint(fleet: Fleet) -> None:
    """Key asked, nothing but the public API let in, a hardened unit, a start recorded by its phases."""
    assert fleet.say("small")
    port = f"http://{fleet.address(HOST)}:8010"
    codes = {
        path: subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", port + path], capture_output=True, text=True
        ).stdout
        for path in ("/health", "/slots", "/props", "/v1/completions")
    }
    assert codes == {"/health": "200", "/slots": "404", "/props": "404", "/v1/completions": "401"}
    exposure = fleet.sh(HOST, f"systemd-analyze security --no-pager {SMALL} | tail -1", check=False)
    assert float(exposure.split()[-3]) <= 1.0, exposure
    [entry] = [
        each for host in fleet.json("status")["hosts"] for each in host["status"]["services"] if each["name"] == "small"
    ]
    assert (entry["state"], entry["load"]) == ("active", "preload")
    assert [phase["phase"] for phase in entry["start"]["phases"]] == ["import", "weights", "server", "first_token"]
    key = fleet.secrets["engine_key"]
    assert key not in fleet.sh(HOST, "ps axww -o args")


def test_a_version_of_it_is_rolled_out_by_a_restart(fleet: Fleet) -> None:
    """In place is refused, because llama.cpp reads weights at its start only; beside it, because both simulated GPUs
    are taken.
    """
    texts = {"v1": texts_of(*fleet.door, "small")}
    words = ("rollout", "small", "-i", str(fleet.inventory), "--yes")
    fleet.serve(small={"version": "v2"})
    for strategy, why in (("reload", "reads weights at its start only"), ("surge", "needs 1 GPUs, and 0 are free")):
        refused = steelyard(*words, "v2", "--strategy", strategy)
        assert (refused.returncode, why in refused.stderr) == (1, True), refused.stderr
    assert fleet.say("small") == texts["v1"][PROMPTS[0]]
    assert steelyard(*words, "v2").returncode == 0
    texts["v2"] = texts_of(*fleet.door, "small")
    assert texts["v1"] != texts["v2"]
    fleet.serve(small={"version": "v1"})
    with fleet.load("small", texts) as load:
        time.sleep(1)
        done = steelyard(*words, "v1")
        time.sleep(1)
    print("swap", json.dumps(load.figures()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons
    assert fleet.changed("plan") == {}


def test_the_first_requests_start_a_lazy_service_and_it_rests_when_nobody_asks(fleet: Fleet) -> None:
    """Twenty at once find it asleep: all are answered. Looks at it, drift among them, do not wake it."""
    fleet.until(OTHER, "inactive", 60)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: fleet.say("other"), range(20)))
    assert len(set(answers)) == 1
    assert fleet.state(OTHER) == "active"
    assert fleet.changed("plan") == {}
    fleet.until(OTHER, "inactive", IDLE_S + 60)
    drift = steelyard("drift", "-i", str(fleet.inventory))
    assert drift.returncode == 0, drift.stdout
    subprocess.run(["curl", "-s", f"http://{fleet.address(HOST)}:8011/metrics"], capture_output=True)
    assert "asleep" in steelyard("status", "-i", str(fleet.inventory)).stdout
    time.sleep(2)
    assert fleet.state(OTHER) == "inactive"


def test_a_lazy_one_that_is_killed_comes_back_for_whoever_asks(fleet: Fleet) -> None:
    assert fleet.say("other")
    fleet.sh(HOST, f"systemctl kill --signal=KILL {OTHER}")
    assert fleet.say("other")


def test_one_that_sleeps_is_moved_to_another_version_and_rests_again(fleet: Fleet) -> None:
    texts = {"v1": texts_of(*fleet.door, "other")}
    fleet.until(OTHER, "inactive", IDLE_S + 60)
    fleet.serve(other={"version": "v2"})
    words = ("rollout", "other", "v2", "-i", str(fleet.inventory), "--yes")
    assert "it is started by its first request" in steelyard(*words, "--strategy", "surge").stderr
    done = steelyard(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    fleet.until(OTHER, "inactive", IDLE_S + 60)
    texts["v2"] = texts_of(*fleet.door, "other")
    assert texts["v1"] != texts["v2"]
    fleet.serve(other={"version": "v1"})
    with fleet.load("other", texts) as load:
        time.sleep(1)
        done = steelyard("rollout", "other", "v1", "-i", str(fleet.inventory), "--yes")
        time.sleep(1)
    print("lazy", json.dumps(load.figures()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons
    assert fleet.say("other") == texts["v1"][PROMPTS[0]]


def test_an_engine_sees_the_folder_of_no_other_engine(fleet: Fleet) -> None:
    """Not even one that its account could use: what it sees of another's socket it could try, or take its place."""
    fleet.sh(HOST, "install -d -o steelyard_tiny -g steelyard_tiny /run/steelyard/another")
    inside = f"nsenter -t {fleet.pid(TINY)} -m {account('tiny')}"
    try:
        assert fleet.sh(HOST, f"{inside} ls /run/steelyard").split() == ["tiny"]
        assert "refused" in fleet.sh(HOST, f"{inside} mkdir /run/steelyard/one-more 2>/dev/null || echo refused")
        assert "written" in fleet.sh(HOST, f"{inside} touch /run/steelyard/tiny/own && echo written")
    finally:
        fleet.sh(HOST, "rm -rf /run/steelyard/another /run/steelyard/tiny/own")


@pytest.mark.parametrize(("hostile", "victim"), [("small", "tiny"), ("tiny", "small")])
def test_an_engine_that_was_taken_over_has_no_way_to_another(fleet: Fleet, hostile: str, victim: str) -> None:
    """Not even out of its sandbox, as long as it is no root: it has an account, and groups, of its own.

    The victim has to be touched by nothing of it: that its socket and its control routes are there, root sees.
    """
    units = {"small": SMALL, "tiny": TINY}
    before = fleet.pid(units[victim])
    routes = {"tiny": "-X POST http://x/sleep?level=2", "small": "http://x/slots"}
    asked = f"curl -s -o /dev/null -w %{{http_code}} --unix-socket /run/steelyard/{victim}/engine.sock"
    assert fleet.sh(HOST, f"{asked} http://x/health").strip() == "200"
    out = f"setpriv --reuid steelyard_{hostile} --regid steelyard_{hostile} --clear-groups"
    for words in (
        f"{asked} {routes[victim]}",
        f"ls /run/steelyard/{victim}",
        f"mv /run/steelyard/{victim}/engine.sock /run/steelyard/{victim}/mine",
        f"touch /run/steelyard/{victim}/mine",
        f"cat /etc/steelyard/services/{victim}.env",
        f"sh -c 'cat /etc/steelyard/services/{victim}.[yj]*'",
        "ls /etc/steelyard/services",
        "cat /etc/steelyard/front-key.map",
        f"ls /var/cache/steelyard/{victim}",
        f"cat /proc/{before}/environ",
        f"kill -STOP {before}",
        f"kill -KILL {before}",
        f"nsenter -t {before} -m true",
    ):
        assert "refused" in fleet.sh(HOST, f"{out} {words} 2>&1 || echo refused"), words
    if hostile == "small":  # which is back in a second
        # everything that it may end, which is itself
        own = fleet.pid(SMALL)
        fleet.sh(HOST, f"{out} sh -c 'kill -KILL -1'", check=False)
        fleet.until(SMALL, "active", 60)
        assert fleet.pid(SMALL) != own
    assert fleet.pid(units[victim]) == before
    assert fleet.say(victim)
    assert fleet.changed("plan") == {}


def test_what_the_account_of_before_wrote_is_its_own_after_an_apply(fleet: Fleet) -> None:
    """As on a host of a release whose engines had one account, or where somebody removed the drop-in: an engine is seen
    to run without it, moves as it restarts, and no request fails.
    """
    texts = {"v1": texts_of(*fleet.door, "small")}
    drop_in = f"/etc/systemd/system/{SMALL}.d/30-account.conf"
    restart = f"rm {drop_in} && systemctl daemon-reload && systemctl restart {SMALL}"
    fleet.sh(HOST, f"chgrp steelyard-engine /etc/steelyard/services/small.json && {restart}")
    fleet.sh(HOST, "touch /var/cache/steelyard/small/old && chown steelyard-engine /var/cache/steelyard/small/old")
    assert fleet.user(SMALL) == "steelyard-engine"
    codes = {finding["code"] for finding in fleet.json("drift")["findings"]}
    assert {"vllm.have-the-engine-run-as-it", "vllm.run-the-service"} <= codes
    with fleet.load("small", texts) as load:
        time.sleep(1)
        fleet.apply()
        time.sleep(1)
    assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons
    assert fleet.user(SMALL) == "steelyard_small"
    assert fleet.sh(HOST, "stat -c %U:%G /var/cache/steelyard/small/old").strip() == "steelyard_small:steelyard_small"
    fleet.sh(HOST, "rm /var/cache/steelyard/small/old")


def account(service: str) -> str:
    """Words of nsenter that become the account of a service."""
    return f"-S $(id -u steelyard_{service}) -G $(id -g steelyard_{service})"


def test_two_aliases_are_rolled_out_at_the_same_time(fleet: Fleet) -> None:
    """Both end, nobody's request fails; an apply meanwhile, and a second rollout of one of them, are refused by the
    lock.
    """
    fleet.serve(small={"version": "v2"}, other={"version": "v2"})
    # who is looked at for a while holds its lock long enough to be met
    words = ["-i", str(fleet.inventory), "--yes", "--watch", "30"]
    with fleet.load("small", {}) as first, fleet.load("other", {}) as second:
        time.sleep(1)
        runs = [
            subprocess.Popen(
                [STEELYARD, "rollout", name, "v2", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for name in ("small", "other")
        ]
        end = time.monotonic() + 120
        while len(held := locks(fleet)) < 2 and time.monotonic() < end:
            time.sleep(0.5)
        meanwhile = [("apply", "-i", str(fleet.inventory), "--yes"), ("rollout", "small", "v2", *words)]
        with ThreadPoolExecutor(2) as pool:
            refused = list(pool.map(lambda command: steelyard(*command), meanwhile))
        ended = [run.communicate()[0] for run in runs]
    assert sorted(lock["doing"] for lock in held) == ["rollout other v2", "rollout small v2"]
    assert [run.returncode for run in runs] == [0, 0], ended
    assert all("the fleet is locked by" in done.stderr for done in refused), [done.stderr for done in refused]
    print("two aliases", json.dumps([first.figures(), second.figures()]))
    assert (first.counts.failed, second.counts.failed) == (0, 0), [first.counts.reasons, second.counts.reasons]
    fleet.serve(small={"version": "v1"}, other={"version": "v1"})
    fleet.apply()


def locks(fleet: Fleet) -> list[dict[str, Any]]:
    done = steelyard("lock", "show", "-i", str(fleet.inventory), "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout)["locks"]
    return found


def test_what_never_has_room_is_refused_with_the_numbers(fleet: Fleet) -> None:
    roles = fleet.inventory / "group_vars/all/roles.yml"
    roles.write_text(roles.read_text().replace("vllm:\n", "vllm:\n  memory_gib: 3\n", 1))
    fleet.serve(small={"memory_gib": 2}, other={"memory_gib": 2})
    refused = steelyard("plan", "-v", "-i", str(fleet.inventory))
    assert refused.returncode != 0
    assert "need 4 GiB of memory" in refused.stdout + refused.stderr
    assert fleet.state(SMALL) == "active"


@pytest.mark.parametrize(
    "news", [{"memory_gib": 2}, {"memory_gib": None, "gpu_memory_utilization": 0.9}], ids=["memory", "gpu"]
)
def test_lazy_services_run_by_turns_where_there_is_room_for_one(fleet: Fleet, news: dict[str, Any]) -> None:
    """Whoever is asked runs, and the other one rests; no request of either fails."""
    fleet.serve(small={"load": "lazy", **news}, other=news)
    fleet.apply()
    fleet.until(SMALL, "inactive", IDLE_S + 60)
    assert fleet.say("small")
    assert (fleet.state(SMALL), fleet.state(OTHER)) == ("active", "inactive")
    assert fleet.say("other")
    assert (fleet.state(SMALL), fleet.state(OTHER)) == ("inactive", "active")
    with fleet.load("small", {}) as first, fleet.load("other", {}) as second:
        time.sleep(10)
    print("by turns", json.dumps([first.figures(), second.figures()]))
    assert (first.counts.failed, second.counts.failed) == (0, 0), [first.counts.reasons, second.counts.reasons]
    assert min(first.counts.requests, second.counts.requests) > 3


def test_a_port_with_nobody_behind_it_does_not_use_up_the_tries_of_who_waits(fleet: Fleet) -> None:
    """As between an engine's death and its port's end: HAProxy answers 503 in a millisecond there, and the gateway
    repeats it at once.
    """
    fleet.until(OTHER, "inactive", IDLE_S + 60)
    fleet.sh(HOST, "systemctl stop steelyard-lazy@other.socket")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(fleet.say, "other")
        time.sleep(6)
        assert not held.done(), held.exception()
        fleet.sh(HOST, "systemctl start steelyard-lazy@other.socket")
        assert held.result(120)
    log = fleet.sh("gw-1", "sleep 0.5; journalctl -t haproxy -o cat --no-pager | grep alias=other | tail -1")
    [tries] = re.findall(r" rc=\+?(\d+)", log)
    assert 4 < int(tries) < 60, log


def test_one_that_cannot_start_is_told_and_whoever_asked_is_answered_once_it_can(fleet: Fleet) -> None:
    """Somebody damages its configuration: a request is held, drift says what is wrong, apply mends it, and the request
    is answered.
    """
    fleet.until(OTHER, "inactive", 120)
    fleet.sh(HOST, 'sed -i \'s/"folder"/"fold"/\' /etc/steelyard/services/other.json')
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(fleet.say, "other")
        fleet.until(OTHER, "failed", 60)
        found = {finding["code"] for finding in fleet.json("drift")["findings"]}
        assert "vllm.write-the-engine-s-config" in found
        # whichever is seen: between two tries its socket does not listen
        assert found & {"vllm.gives-a-token", "vllm.listen-for-its-first-request"}, found
        assert not held.done(), held.exception()
        fleet.apply_once()
        assert held.result(120)
    # not before: a try that failed just before its configuration was mended leaves its socket to the watch
    assert fleet.changed("plan") == {}
