"""Drift on real hosts: live checks that no task could make, exceptions, and since when."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.lab_site import Site, steelyard


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_a_hung_engine_that_systemd_calls_active_is_drift(site: Site) -> None:
    main = site.sh("gpu-1", "systemctl show -P MainPID steelyard-vllm@tiny.service").strip()
    site.sh("gpu-1", f"kill -STOP {main}")
    try:
        answer = site.json("drift")
    finally:
        site.sh("gpu-1", f"kill -CONT {main}")
    codes = {finding["code"]: finding for finding in answer["findings"]}
    assert codes["vllm.gives-a-token"]["id"] == "gpu-1:vllm:token of tiny"
    assert "journalctl -u steelyard-vllm@tiny.service" in codes["vllm.gives-a-token"]["fix"]
    assert answer["exit"] == 2
    site.sh(
        "gw-1",
        "python3 -I /usr/lib/steelyard/steelyard-host.pyz haproxy-wait /run/haproxy/admin.sock 60 alias-tiny/gpu-1",
    )
    assert site.json("drift")["findings"] == []


def test_a_gateway_that_clients_cannot_reach_is_drift(site: Site) -> None:
    site.sh(
        "gw-1",
        "nft add table inet shut; nft 'add chain inet shut incoming { type filter hook input priority 0; }'; "
        "nft 'add rule inet shut incoming tcp dport 8080 reject with tcp reset'",
    )
    try:
        [finding] = [found for found in site.json("drift")["findings"] if found["host"] == "gw-1"]
    finally:
        site.sh("gw-1", "nft delete table inet shut")
    assert finding["code"] == "gateway.lists-the-aliases"
    assert "refused" in finding["live"]
    assert site.changed("plan") == {}, "a plan has nothing to do about it"


def test_an_excepted_finding_does_not_count_until_its_day_is_over(site: Site, tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    inventory = site.copy(tmp_path)
    entry = "- {{id: 'gw-1:gateway:*', reason: under test, owner: anna, expires: {day}}}\n"
    site.sh("gw-1", "echo '# by hand' >> /etc/haproxy/haproxy.cfg")
    try:
        first = steelyard("drift", "-i", str(inventory), "--json")
        [finding] = json.loads(first.stdout)["findings"]
        assert (first.returncode, finding["since"]) == (2, None)
        (inventory / "drift-exceptions.yml").write_text(entry.format(day=today))
        excepted = steelyard("drift", "-i", str(inventory), "--json")
        answer = json.loads(excepted.stdout)
        assert (excepted.returncode, answer["findings"]) == (0, []), excepted.stdout
        assert answer["excepted"][0]["exception"]["owner"] == "anna"
        assert answer["excepted"][0]["since"] is not None, "it was seen before"
        assert "no drift: 3 hosts as declared, 1 excepted" in steelyard("drift", "-i", str(inventory)).stdout
        (inventory / "drift-exceptions.yml").write_text(entry.format(day=today - timedelta(days=1)))
        over = steelyard("drift", "-i", str(inventory), "--json")
        assert over.returncode == 2
        assert sorted(found["verdict"] for found in json.loads(over.stdout)["findings"]) == ["differs", "expired"]
        assert steelyard("plan", "-i", str(inventory)).returncode == 2, "Ansible's reader is not disturbed by the file"
    finally:
        assert site.changed("apply", "--yes")


def test_a_wrong_exceptions_file_is_told_before_a_connection(site: Site, tmp_path: Path) -> None:
    inventory = site.copy(tmp_path)
    (inventory / "drift-exceptions.yml").write_text("- {id: x, reason: y, owner: z}\n")
    done = steelyard("drift", "-i", str(inventory))
    assert (done.returncode, "drift-exceptions.yml:1: `expires` is missing" in done.stderr) == (1, True)


def test_missing_host_keys_are_found_and_recorded_when_they_were_compared(site: Site, tmp_path: Path) -> None:
    inventory = site.copy(tmp_path)
    known = tmp_path / "keys/known_hosts"
    path = inventory / "group_vars/all/connection.yml"
    path.write_text(path.read_text().replace(str(site.lab.paths.known_hosts), str(known)))
    found = json.loads(steelyard("doctor", "-i", str(inventory), "--json").stdout)["findings"]
    assert sorted(finding["host"] for finding in found if finding["code"] == "doctor.host_key") == [
        "gpu-1",
        "gw-1",
        "mirror-1",
    ]
    asked = steelyard("doctor", "-i", str(inventory), "--record-keys")
    assert (asked.returncode, known.exists()) == (1, False)
    own = site.sh("gw-1", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert f"gw-1  {site.address('gw-1')}  ssh-ed25519  {own}" in asked.stderr
    recorded = steelyard("doctor", "-i", str(inventory), "--record-keys", "--yes")
    assert recorded.returncode == 0, recorded.stdout
    assert steelyard("plan", "-i", str(inventory)).returncode == 0
    assert subprocess.run(["ssh-keygen", "-F", site.address("gpu-1"), "-f", known], capture_output=True).returncode == 0
