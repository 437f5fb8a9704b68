"""An alias with two services on two hosts: moved wave by wave, a canary first, back where the second one fails;
requests find the other.

llama.cpp, because it starts in a second; the gateway, the hosts and the switches are those of any service.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator

import pytest
import yaml
from support import tiny_gguf
from support.lab_site import STEELYARD, Site, on_host, steelyard

from steelyard.lab.load import LoadGenerator, texts_of

FIRST, SECOND = "mirror-1", "gpu-1"  # in the order of the inventory, and so of the waves
PORT, UNIT = 8012, "steelyard-llamacpp@pair.service"
PYZ = "python3 -I /usr/lib/steelyard/steelyard-host.pyz"
WRAPPER = "/usr/lib/steelyard/engine-exec"


class Pair(Site):
    """The site with the alias `pair`, in an inventory of its own."""

    texts: dict[str, dict[str, str]]

    def declare(self, version: str) -> None:
        path = self.inventory / "group_vars/all/models.yml"
        declared = yaml.safe_load(path.read_text())
        model = declared["models"]["gguf/pair"]
        model |= {"version": version, "source": f"{model['source'].rsplit('/', 1)[0]}/{version}"}
        path.write_text(yaml.safe_dump(declared))

    def roll(self, version: str, *words: str) -> subprocess.CompletedProcess[str]:
        self.declare(version)
        return steelyard("rollout", "pair", version, "-i", str(self.inventory), "--yes", *words)

    def settle(self) -> None:
        """Whatever the test before left: v1 serves."""
        if set(self.serves().values()) != {"v1"}:
            done = self.roll("v1", "--waves", "2")
            assert done.returncode == 0, done.stdout + done.stderr

    def serves(self) -> dict[str, str]:
        """Version by host."""
        found = {
            host: json.loads(on_host(self, host, f"{PYZ} switch-state /models gguf/pair pair"))
            for host in (FIRST, SECOND)
        }
        return {host: str(now["serves"]).rsplit("/", 1)[-1] for host, now in found.items()}

    def weights(self) -> dict[str, int]:
        found = json.loads(on_host(self, "gw-1", f"{PYZ} haproxy /run/haproxy/admin.sock"))["weights"]
        return {host: found[f"alias-pair/{host}"] for host in (FIRST, SECOND)}

    @property
    def door(self) -> tuple[str, int, str, str]:
        return self.address("gw-1"), 8080, self.secrets["demo_client_key"], "pair"

    def load(self) -> LoadGenerator:
        return LoadGenerator(*self.door, self.texts, clients=4)


@pytest.fixture(scope="module")
def pair(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both services on v1; taken off the hosts at the end, by declaring them no more."""
    weights, inventory = tmp_path_factory.mktemp("pair"), site.copy(tmp_path_factory.mktemp("replicas"))
    for version, seed in (("v1", 1), ("v2", 2)):
        tiny_gguf.make(weights / version, seed)
    path = inventory / "group_vars/all/models.yml"
    declared = yaml.safe_load(path.read_text())
    # each shares the host's spare, simulated GPU where there is one
    serve = {
        "engine": "llamacpp",
        "hosts": f"{FIRST}:{SECOND}",
        "port": PORT,
        "max_model_len": 256,
        "affinity": "none",
        "gpu_memory_utilization": 0.4,
        "options": {"n_threads": 1},
    }
    declared["models"]["gguf/pair"] = {
        "source": f"file://{weights}/v1",
        "version": "v1",
        "alias": "pair",
        "serve": serve,
    }
    path.write_text(yaml.safe_dump(declared))
    made = Pair(site.lab, inventory)
    done = steelyard("apply", "-i", str(inventory), "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert made.changed("plan") == {}
    made.texts = {"v1": texts_of(*made.door)}
    assert made.roll("v2", "--waves", "2").returncode == 0
    made.texts["v2"] = texts_of(*made.door)
    assert made.texts["v1"] != made.texts["v2"]
    yield made
    assert steelyard("apply", "-i", str(site.inventory), "--yes", "--prune").returncode == 0
    assert site.changed("plan") == {}


def test_hosts_move_one_after_another_and_nobody_waits(pair: Pair) -> None:
    pair.settle()
    with pair.load() as load:
        time.sleep(1)
        done = pair.roll("v2", "--strategy", "swap")
        time.sleep(1)
    print("waves", json.dumps(load.figures()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wave 2 of 2" in done.stderr
    assert pair.serves() == {FIRST: "v2", SECOND: "v2"}
    assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons
    assert load.counts.by_version.keys() == {"v1", "v2"}


def test_a_canary_gets_its_share_first_and_the_weights_come_back(pair: Pair) -> None:
    pair.settle()
    seen: list[dict[str, int]] = []
    pair.declare("v2")
    words = [
        STEELYARD,
        "rollout",
        "pair",
        "v2",
        "-i",
        str(pair.inventory),
        "--yes",
        "--canary",
        "10%",
        "--watch",
        "6",
        "--slower",
        "20",
    ]
    with pair.load() as load:
        running = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        while running.poll() is None:
            seen.append(pair.weights())
            time.sleep(0.3)
    print("canary", json.dumps(load.figures()))
    assert running.wait() == 0, running.stdout.read() if running.stdout else ""
    even = seen[0][FIRST]
    assert seen[0] == {FIRST: even, SECOND: even} == pair.weights()
    shares = {round(min(each.values()) / sum(each.values()), 2) for each in seen}
    assert shares == {0.5, 0.11}, seen  # weights are whole numbers
    assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons
    assert pair.serves() == {FIRST: "v2", SECOND: "v2"}


@pytest.mark.parametrize(("may_fail", "code", "first"), [("0", 5, "v1"), ("1", 3, "v2")])
def test_where_the_second_host_fails_the_first_goes_back_unless_one_may(
    pair: Pair, may_fail: str, code: int, first: str
) -> None:
    """The engine does not start with the new version there, and does with the old one."""
    pair.settle()
    on_host(
        pair,
        SECOND,
        f"cp -p {WRAPPER} /root/kept && sed -i '2i grep -q pair/v2 /proc/self/mountinfo && exit 1' {WRAPPER}",
    )
    try:
        with pair.load() as load:
            done = pair.roll("v2", "--strategy", "swap", "--max-fail", may_fail)
            time.sleep(1)
    finally:
        on_host(pair, SECOND, f"cp -p /root/kept {WRAPPER} && rm /root/kept")
    print("second fails", json.dumps(load.figures()))
    assert done.returncode == code, done.stdout + done.stderr
    assert pair.serves() == {FIRST: first, SECOND: "v1"}
    assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons


def test_a_replica_that_is_killed_costs_only_what_ran_on_it(pair: Pair) -> None:
    """Requests that have not begun go to the other one; those that were running on it are its own."""
    pair.settle()
    with pair.load() as load:
        time.sleep(2)
        on_host(pair, FIRST, f"systemctl kill -s KILL {UNIT}")
        time.sleep(4)
    print("killed", json.dumps(load.figures()))
    assert load.counts.failed <= 4, load.counts.reasons
    assert load.counts.requests > 20
    assert load.counts.mixed == 0
