"""The lab's pure parts: commands as values, layers without a host's own files, the engine's wheels."""

from __future__ import annotations

from pathlib import Path

import pytest

from steelyard.errors import LabNameWrong
from steelyard.lab.nspawn import layers, machine, network, spec
from steelyard.lab.nspawn.network import LabNetwork
from steelyard.lab.nspawn.paths import LabPaths, layer_folder
from steelyard.lab.simulated import gpu
from steelyard_host.mirror import wheels
from steelyard_host.system.digest import sha256_file

NET = LabNetwork(3)


def test_hosts_beyond_the_description_are_copies_of_the_last() -> None:
    names = [host.name for host in spec.hosts_of(5)]
    assert names == ["mirror-1", "gw-1", "gpu-1", "gpu-2", "gpu-3"]
    assert [host.name for host in spec.hosts_of(2)] == ["mirror-1", "gw-1"]
    assert [host.name for host in spec.hosts_of(5) if host.routed] == ["mirror-1"]


def test_only_routed_hosts_pass_and_the_drop_comes_last() -> None:
    filters = [rule for rule in network.rule_specs(NET, ["10.77.3.10"]) if rule[0] == "filter"]
    assert [rule[-1] for rule in filters] == ["ACCEPT", "ACCEPT", "ACCEPT", "DROP"]
    assert "10.77.3.10" in filters[1]
    inserted = network.add_rule_commands(NET, ["10.77.3.10"])
    assert inserted[0][-1] == "MASQUERADE"  # inserted first, so that the ACCEPTs end up before the DROP


def test_rules_are_found_again_by_their_comment_and_only_ours() -> None:
    saved = (
        '*nat\n-A POSTROUTING -s 10.77.3.10/32 ! -o sylab3 -m comment --comment "steelyard lab sylab3" -j MASQUERADE\n'
        "-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE\nCOMMIT\n*filter\n-A FORWARD -i sylab33 -m comment "
        '--comment "steelyard lab sylab33" -j DROP\n-A FORWARD -i sylab3 -m comment --comment "steelyard '
        'lab sylab3" -j DROP\n'
    )
    found = network.delete_rule_commands(NET, saved)
    assert [(command[3], command[4], command[5]) for command in found] == [
        ("nat", "-D", "POSTROUTING"),
        ("filter", "-D", "FORWARD"),
    ]
    assert "steelyard lab sylab3" in found[0]


def test_host_gets_the_controllers_that_the_machine_passes_on(tmp_path: Path) -> None:
    """On cgroup v2; the root, which is the machine's own, and trees of cgroup v1 are left alone."""
    leaf = tmp_path / "steelyard-lab/sylab3/gpu-1"
    leaf.mkdir(parents=True)
    asked = [leaf, leaf.parent, leaf.parent.parent]
    for folder in asked:
        (folder / "cgroup.controllers").write_text("memory\n")
    machine.pass_controllers(tmp_path, leaf)
    assert [(folder / "cgroup.subtree_control").read_text() for folder in asked] == ["+memory"] * 3
    assert not (tmp_path / "cgroup.subtree_control").exists()
    older = tmp_path / "v1/steelyard-lab"
    older.mkdir(parents=True)
    machine.pass_controllers(tmp_path / "v1", older)
    assert list(older.iterdir()) == []


def test_layer_holds_packages_and_no_host() -> None:
    for path in (
        "etc/hostname",
        "etc/ssh/ssh_host_ed25519_key",
        "etc/steelyard/keys/tiny",
        "models/llm/x",
        "home/ops/.ssh",
        "etc/systemd/system/steelyard-front.service",
        "var/log/syslog",
        "etc/haproxy/haproxy.cfg",
    ):
        assert layers.is_host_file(path), path
    for path in ("usr/sbin/haproxy", "var/lib/dpkg/status", "opt/steelyard/engines/vllm-0.32.0/bin/vllm", "etc/passwd"):
        assert not layers.is_host_file(path), path
    assert not layers.belongs_to_host("var/log/apt-cacher-ng")  # the folder stays: its service needs it


def test_scenario_of_simulated_gpus_names_model_driver_and_faults() -> None:
    text = gpu.scenario_text(spec.SimulatedGpus(count=2, faults=("lost:1",)))
    assert text.splitlines()[-3:] == ["gpu=0000:18:00.0", "gpu=0000:19:00.0", "fault=lost:1"]
    assert "simulated GPU %s" in gpu.SOURCE.read_text()


def test_wheel_index_has_a_hash_in_each_link_and_in_the_lock(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "torch-2.13.0+cpu-cp311-none-any.whl").write_bytes(b"x")
    assert wheels.state(tmp_path) == (1, False)
    wheels.index(tmp_path)
    digest = sha256_file(tmp_path / "files" / "torch-2.13.0+cpu-cp311-none-any.whl")
    page = (tmp_path / "simple/torch/index.html").read_text()
    assert f"../../files/torch-2.13.0%2Bcpu-cp311-none-any.whl#sha256={digest}" in page
    assert (tmp_path / "requirements.lock").read_text() == f"torch==2.13.0+cpu --hash=sha256:{digest}\n"
    assert wheels.state(tmp_path).indexed is True
    (tmp_path / "files" / "other-1-py3-none-any.whl").write_bytes(b"y")
    assert wheels.state(tmp_path) == (2, False)


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "/etc", "a/b", "Lab", "-x", "a" * 33])
def test_a_name_that_leads_to_other_folders_is_refused(name: str) -> None:
    with pytest.raises(LabNameWrong, match="allowed are lower-case letters"):
        LabPaths(name)
    with pytest.raises(LabNameWrong, match="a layer cannot be called"):
        layer_folder(name)
