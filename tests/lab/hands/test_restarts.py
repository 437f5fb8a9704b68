"""Applies that restart engines under load: nobody is failed, at no moment are all replicas away, and where one does not
come back the others stay.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
from support.dear import dear
from support.hands_site import HandsSite, count
from support.lab_site import steelyard

from steelyard.lab.load import LoadGenerator, texts_of

BROKEN = "/etc/systemd/system/steelyard-llamacpp@{}.service.d/99-broken.conf"
OLD = {"n_threads": 1}
ALL = os.environ.get("STEELYARD_HANDS") == "all"


class Watched:
    """Least number of the alias's engines that gateways could send requests to, of all looks while a block runs."""

    def __init__(self, hands: HandsSite, alias: str, hosts: tuple[str, ...]) -> None:
        self._hands, self._alias, self._hosts = hands, alias, hosts
        self.least, self.looks = len(hosts), 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _look(self) -> None:
        while not self._over.wait(0.2):
            answer = self._hands.helper("gw-1", "haproxy", "/run/haproxy/admin.sock")
            states = [answer["servers"].get(f"alias-{self._alias}/{host}", "") for host in self._hosts]
            self.least = min(self.least, sum(state.startswith("UP") for state in states))
            self.looks += 1


def pids(hands: HandsSite, alias: str, hosts: tuple[str, ...]) -> list[str]:
    """Main process of the alias's engine on each host."""
    unit = f"steelyard-llamacpp@{alias}.service"
    return [hands.sh(host, f"systemctl show {unit} --property=MainPID --value").strip() for host in hosts]


def planned(hands: HandsSite) -> dict[str, Any]:
    """The plan, as JSON."""
    done = steelyard("plan", "-i", str(hands.inventory), "--json")
    assert done.returncode == 2, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def restarts(plan: dict[str, Any]) -> dict[str, float | None]:
    """Host to the seconds that clients wait for its restart."""
    return {
        host["host"]: command["outage_s"]
        for host in plan["hosts"]
        for task in host["tasks"]
        for command in task["commands"]
        if command["effect"] == "restart"
    }


def apply(hands: HandsSite, *words: str) -> subprocess.CompletedProcess[str]:
    return steelyard("apply", "-i", str(hands.inventory), "--yes", *words)


@pytest.fixture
def pair(hands: HandsSite) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Two replicas: alias, hosts, port."""
    yield "pair", ("gpu-1", "gpu-2"), 8010
    hands.serve("pair", "gpu-1:gpu-2", 8010)
    hands.apply()


@pytest.fixture
def trio(hands: HandsSite) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Three replicas, beside those of the site."""
    hands.serve("trio", "gpu", 8013)
    hands.apply()
    yield "trio", ("gpu-1", "gpu-2", "gpu-3"), 8013
    hands.unserve("trio")
    hands.apply("--prune")


def texts(hands: HandsSite, alias: str) -> dict[str, dict[str, str]]:
    """The texts that answers have to be of: weights are the same for every alias."""
    return hands.texts if alias == "pair" else {"v1": texts_of(*door(hands), alias)}


def door(hands: HandsSite) -> tuple[str, int, str]:
    return hands.address("gw-1"), 8080, hands.secrets["demo_client_key"]


@contextmanager
def nobody_failed(hands: HandsSite, alias: str, hosts: tuple[str, ...]) -> Iterator[LoadGenerator]:
    """Clients ask and the gateway is looked at while the block runs; nobody is failed, and somebody always serves."""
    with hands.load(alias, texts=texts(hands, alias)) as load, Watched(hands, alias, hosts) as watched:
        yield load
    assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts
    assert load.counts.requests > 0
    assert watched.looks > 0
    if len(hosts) > 1:
        assert watched.least >= len(hosts) - 1, "more than one replica was away"


# what changes -> what is declared for it
CHANGES: dict[str, dict[str, Any]] = {
    "option": {"options": {"n_threads": 1, "n_batch": 256}},
    "environment": {"environment": {"REPLICA_TEST": "another"}},
    "version": {"version": "v2"},
}
ROWS = [("pair", "option"), ("trio", "environment"), ("pair", "version"), ("trio", "option"), ("pair", "environment")]
TODAY = ROWS if ALL else [ROWS[date.today().toordinal() % len(ROWS)]]


@pytest.mark.parametrize(("alias", "change"), TODAY)
def test_replicas_restart_one_after_the_other(
    hands: HandsSite, request: pytest.FixtureRequest, alias: str, change: str
) -> None:
    name, hosts, port = request.getfixturevalue(alias)
    before = pids(hands, name, hosts)
    hands.serve(name, ":".join(hosts), port, **CHANGES[change])
    plan = planned(hands)
    assert restarts(plan) == dict.fromkeys(hosts, 0.0), "the plan counts them, and nobody waits"
    codes = [advice["code"] for advice in plan["advice"]]
    assert ("vllm.version-by-restart" in codes) == (change == "version")
    with nobody_failed(hands, name, hosts) as load:
        done = apply(hands)
    assert done.returncode == 0, done.stderr
    after = pids(hands, name, hosts)
    assert all(old != new for old, new in zip(before, after, strict=True)), "every one was started anew"
    if change == "version":
        assert load.counts.by_version.get("v2"), load.counts
    count(restarts_under_load=len(hosts), failed_requests=load.counts.failed)


@dear(0, 4, "STEELYARD_HANDS")
def test_a_changed_unit_restarts_every_alias_side_by_side_and_its_replicas_in_turn(hands: HandsSite) -> None:
    """As another version of an engine would, of which there is one here: the unit is part of what it runs with."""
    key = hands.secrets["engine_key"]
    hands.roles(vllm={"api_key": key, "ready_s": 800})
    try:
        assert sorted(restarts(planned(hands))) == ["gpu-1", "gpu-2", "gpu-3"]
        with hands.load("solo") as solo, nobody_failed(hands, "pair", ("gpu-1", "gpu-2")) as load:
            done = apply(hands)
        assert done.returncode == 0, done.stderr
        assert (solo.counts.failed, solo.counts.mixed) == (0, 0), solo.counts
        count(restarts_under_load=3, failed_requests=load.counts.failed + solo.counts.failed)
    finally:
        hands.roles(vllm=None)
        hands.apply()


@contextmanager
def broken(hands: HandsSite, host: str, service: str) -> Iterator[None]:
    """The service does not start on this host, whatever is declared, until the block ends."""
    path = BROKEN.format(service)
    hands.sh(host, f"printf '[Service]\\nExecStartPre=/bin/false\\n' > {path} && systemctl daemon-reload")
    try:
        yield
    finally:
        hands.sh(host, f"rm -f {path} && systemctl daemon-reload")


def test_where_one_replica_does_not_come_back_the_other_stays(
    hands: HandsSite, pair: tuple[str, tuple[str, ...], int]
) -> None:
    alias, hosts, port = pair
    [before] = pids(hands, alias, ("gpu-2",))
    hands.serve(alias, ":".join(hosts), port, options={"n_threads": 1, "n_batch": 128})
    with broken(hands, "gpu-1", alias), nobody_failed(hands, alias, hosts) as load:
        done = apply(hands, "--serial", "1", "--max-fail", "3")
    said = done.stdout + done.stderr
    assert done.returncode == 3, said
    assert "gpu-2: `pair` was not restarted: gpu-1, its other replica, did not come back" in said
    assert pids(hands, alias, ("gpu-2",)) == [before], "it serves as it did"
    config = hands.sh("gpu-2", "cat /etc/steelyard/services/pair.json")
    assert "128" not in config, "and would start as it did"
    with nobody_failed(hands, alias, ("gpu-2",)):
        resumed = apply(hands, "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert pids(hands, alias, ("gpu-2",)) != [before]
    count(restarts_under_load=2, failed_requests=load.counts.failed)


@dear(1, 4, "STEELYARD_HANDS")
def test_a_single_replica_restarts_beside_a_second_engine_or_says_who_waits(hands: HandsSite) -> None:
    try:
        hands.serve("solo", "gpu-3", 8011, options={"n_threads": 1, "n_batch": 256})
        assert restarts(planned(hands)) == {"gpu-3": 0.0}
        with nobody_failed(hands, "solo", ("gpu-3",)) as load:
            done = apply(hands)
        assert done.returncode == 0, done.stderr
        left = hands.sh("gpu-3", "systemctl list-units --all --plain --no-legend 'steelyard-*--surge*'")
        assert left.strip() == "", "nothing of the second engine is left"
        # without room for a second one
        hands.serve("solo", "gpu-3", 8011, options={"n_threads": 1, "n_batch": 128})
        with taken(hands, "gpu-3"):
            plan = planned(hands)
            [outage_s] = restarts(plan).values()
            assert outage_s, "as long as its last start took"
            [advice] = [entry for entry in plan["advice"] if entry["code"] == "vllm.single-replica"]
            assert advice["text"].startswith("nobody else serves solo while it restarts")
            with nobody_failed(hands, "solo", ("gpu-3",)) as waited:
                held = apply(hands, "--hold", "900")
        assert held.returncode == 0, held.stderr
        loaded = hands.helper("gw-1", "haproxy", "/run/haproxy/admin.sock")["config"]
        assert "hold" not in loaded, "it holds as long as declared again"
        count(restarts_under_load=2, failed_requests=load.counts.failed + waited.counts.failed)
    finally:
        hands.serve("solo", "gpu-3", 8011)
        hands.apply("--prune")


@contextmanager
def taken(hands: HandsSite, host: str) -> Iterator[None]:
    """Every GPU of the host is a service's, as far as its drop-ins say."""
    folder = "/etc/systemd/system/steelyard-llamacpp@taken.service.d"
    uuids = ",".join(device["uuid"] for device in hands.helper(host, "gpu-health")["devices"])
    text = f"[Service]\\nEnvironment=CUDA_VISIBLE_DEVICES={uuids}\\n"
    hands.sh(host, f"mkdir -p {folder} && printf '{text}' > {folder}/60-gpus.conf")
    try:
        yield
    finally:
        hands.sh(host, f"rm -rf {folder}")


@dear(2, 4, "STEELYARD_HANDS")
def test_one_broken_service_of_a_host_does_not_stop_the_other(hands: HandsSite) -> None:
    hands.serve("duo", "gpu-3", 8012)
    hands.apply()
    try:
        before = pids(hands, "solo", ("gpu-3",))
        for alias, port in (("duo", 8012), ("solo", 8011)):
            hands.serve(alias, "gpu-3", port, options={"n_threads": 1, "n_batch": 64})
        with taken(hands, "gpu-3"), broken(hands, "gpu-3", "duo"), nobody_failed(hands, "solo", ("gpu-3",)) as load:
            done = steelyard("apply", "-i", str(hands.inventory), "--yes", "--json")
        assert done.returncode == 3, done.stderr
        document = json.loads(done.stdout)
        outcomes = {host["host"]: host["outcome"] for host in document["hosts"]}
        assert outcomes["gpu-3"] == "failed"
        assert outcomes["gw-1"] != "failed", "it waits for nothing that failed in this run"
        assert pids(hands, "solo", ("gpu-3",)) != before, "the other one is as declared"
        assert hands.changed("plan").keys() <= {"gpu-3"}
        count(restarts_under_load=1, failed_requests=load.counts.failed)
    finally:
        hands.unserve("duo")
        hands.serve("solo", "gpu-3", 8011)
        hands.apply("--prune")
