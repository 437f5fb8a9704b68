"""What an operator looks at: one cause told once, status with the gateways' view, journals followed, versions."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest
from support.hands_site import HandsSite
from support.lab_site import BIN, steelyard

FRONT = "steelyard-front.service"


def drift(hands: HandsSite) -> dict[str, Any]:
    done = steelyard("drift", "-i", str(hands.inventory), "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def until_seen(hands: HandsSite, up: dict[str, bool]) -> None:
    """Wait until the gateway sees each of these replicas so."""
    while True:
        servers = hands.helper("gw-1", "haproxy", "/run/haproxy/admin.sock")["servers"]
        if all(servers[f"alias-pair/{host}"].startswith("UP") == well for host, well in up.items()):
            return


@pytest.mark.parametrize(
    ("harm", "cause", "told"),
    [
        (f"systemctl stop {FRONT}", FRONT, "inactive"),
        (
            f"systemctl stop {FRONT}; systemd-run -q --unit=taker python3 -m http.server 8010; "
            f"until ss -Hltn | grep -q :8010; do sleep 0.1; done; systemctl start {FRONT} || true",
            f"HAProxy of {FRONT}",
            "port 8010 is taken by `python3`",
        ),
    ],
    ids=["stopped", "port_taken"],
)
def test_a_dead_front_is_told_once_at_its_host(hands: HandsSite, harm: str, cause: str, told: str) -> None:
    hands.sh("gpu-1", harm)
    try:
        until_seen(hands, {"gpu-1": False})
        document = drift(hands)
        [finding] = document["findings"]
        assert (finding["host"], finding["subject"]) == ("gpu-1", cause)
        assert told in finding["live"]
        seen = {(entry["host"], entry["subject"]) for entry in document["consequences"]}
        assert ("gw-1", "alias-pair/gpu-1") in seen
        assert {entry["because_of"] for entry in document["consequences"]} == {finding["id"]}
    finally:
        hands.sh("gpu-1", "systemctl stop taker 2>/dev/null; systemctl reset-failed; true")
        hands.apply("-l", "gpu-1:gw-1")
    assert drift(hands)["findings"] == []


def test_status_shows_what_gateways_see_and_stays_within_a_page(hands: HandsSite) -> None:
    done = steelyard("status", "-i", str(hands.inventory))
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert done.stdout.count("UP 100") == 3
    [pair, _, _] = json.loads(steelyard("status", "-i", str(hands.inventory), "--json").stdout)["services"]
    assert (pair["alias"], pair["port"], pair["version"], pair["declared"]) == ("pair", 8010, "v1", "v1")
    assert [view["gateway"] for view in pair["gateways"]] == ["gw-1"]


def test_journals_are_followed_over_hosts_and_end_with_an_interrupt(hands: HandsSite) -> None:
    words = ["logs", "gpu-1", "gpu-2", "-f", "-n", "0", "--unit", "engine", "-i", str(hands.inventory)]
    reader = subprocess.Popen([str(BIN / "steelyard"), *words], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    for host in ("gpu-1", "gpu-2"):
        hands.sh(
            host, "until pgrep -x journalctl; do sleep 0.1; done; systemctl restart steelyard-llamacpp@pair.service"
        )
    hosts: set[str] = set()
    for line in reader.stdout:
        if "Stopping steelyard" in line or "Started steelyard" in line:
            hosts.add(line.split()[1])
        if hosts == {"gpu-1", "gpu-2"}:
            break
    reader.send_signal(signal.SIGINT)
    reader.stdout.read()
    assert reader.wait() == 0
    for host in ("gpu-1", "gpu-2"):
        assert hands.sh(host, "pgrep -c journalctl || true").strip() == "0", "a reader was left behind"
    until_seen(hands, {"gpu-1": True, "gpu-2": True})


def test_versions_of_hosts_are_of_this_release(hands: HandsSite) -> None:
    document = json.loads(steelyard("version", "--hosts", "-i", str(hands.inventory), "--json").stdout)
    assert {row["host"]: row["is_ours"] for row in document["hosts"]} == dict.fromkeys(
        ["mirror-1", "gw-1", "gpu-1", "gpu-2", "gpu-3"], True
    )
