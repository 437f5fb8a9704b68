"""Inventories are Ansible's: same values, same precedence, same patterns, vault; and their errors are one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.lab_site import STEELYARD

from steelyard.errors import (
    Exit,
    FileSyntaxWrong,
    InventoryEmpty,
    InventoryMissing,
    LimitMatchedNoHost,
    VaultPasswordMissing,
    VaultPasswordWrong,
)
from steelyard.inventory.ansible import ADDED_BY_ANSIBLE, encrypt_value
from steelyard.inventory.connection import connection_data
from steelyard.inventory.limit import Limit
from steelyard.inventory.read import read_fleet

HOSTS = """
all:
  children:
    gpu:
      children:
        rack1: {hosts: {g1: {ansible_host: 10.0.0.1}, g2: }}
        rack2: {hosts: {g3: }}
    mirror: {hosts: {m1: }}
    empty: {hosts: {}}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Nested groups, three levels of precedence."""
    (tmp_path / "group_vars" / "all").mkdir(parents=True)
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "hosts.yml").write_text(HOSTS)
    (tmp_path / "group_vars" / "all" / "base.yml").write_text("mtu: 1500\nname: [a, b]\ntext: '7'\n")
    (tmp_path / "group_vars" / "gpu.yml").write_text("mtu: 9000\nnested: {deep: {n: 1}}\n")
    (tmp_path / "group_vars" / "rack2.yml").write_text("mtu: 4200\n")
    (tmp_path / "host_vars" / "g1.yml").write_text("mtu: 1400\n")
    return tmp_path


def vaulted(inventory: Path, secret: str = "s3cr3t-value") -> Path:
    password = inventory.parent / f"{inventory.name}-password"
    password.write_text("open sesame\n")
    block = "\n".join("  " + line for line in encrypt_value(secret, password).splitlines())
    (inventory / "group_vars" / "all" / "vault.yml").write_text(f"token: !vault |\n{block}\n")
    return password


def test_values_follow_ansibles_precedence(inventory: Path) -> None:
    fleet = read_fleet(inventory)
    assert {host.name: host.variables["mtu"] for host in fleet.hosts} == {
        "g1": 1400,
        "g2": 9000,
        "g3": 4200,
        "m1": 1500,
    }
    assert fleet.host("g1").groups == ("all", "gpu", "rack1")
    assert fleet.groups["gpu"] == ("g1", "g2", "g3")


def test_values_agree_with_ansible_inventory_one_by_one(inventory: Path) -> None:
    password = vaulted(inventory)
    program = str(Path(sys.executable).parent / "ansible-inventory")
    listed = subprocess.run(
        [program, "-i", str(inventory), "--list", "--vault-password-file", str(password)],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(listed.stdout)["_meta"]["hostvars"]
    fleet = read_fleet(inventory, password)
    ours = {host.name: host.variables for host in fleet.hosts}
    for name, variables in theirs.items():
        kept = {key: value for key, value in variables.items() if key not in ADDED_BY_ANSIBLE}
        kept["token"] = "s3cr3t-value"  # shown encrypted by --list
        assert ours[name] == kept


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("gpu", ("g1", "g2", "g3")),
        ("g*:!rack2", ("g1", "g2")),
        ("gpu[0]", ("g1",)),
        ("gpu:&rack2", ("g3",)),
        ("m1,g3", ("g3", "m1")),
    ],
)
def test_limit_takes_ansible_patterns(inventory: Path, pattern: str, matched: tuple[str, ...]) -> None:
    assert sorted(Limit(pattern).select(read_fleet(inventory))) == sorted(matched)


@pytest.mark.parametrize("pattern", ["gpux", "empty", "", "  "])
def test_limit_that_matches_nothing_exits_4_and_names_the_groups(inventory: Path, pattern: str) -> None:
    with pytest.raises(LimitMatchedNoHost) as caught:
        Limit(pattern).select(read_fleet(inventory))
    assert caught.value.exit == Exit.NO_HOST
    assert "gpu" in str(caught.value)


def test_vault_value_is_read_and_known_as_a_secret(inventory: Path) -> None:
    fleet = read_fleet(inventory, vaulted(inventory))
    value = fleet.host("g1").variables["token"]
    assert value == "s3cr3t-value"
    assert type(value) is str
    assert fleet.secrets == {"s3cr3t-value"}


def test_vault_password_missing_is_told(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE", raising=False)
    vaulted(inventory)
    with pytest.raises(VaultPasswordMissing):
        read_fleet(inventory)


def test_vault_password_wrong_is_told(inventory: Path) -> None:
    wrong = vaulted(inventory).with_name("wrong")
    wrong.write_text("not it\n")
    with pytest.raises(VaultPasswordWrong, match="wrong"):
        read_fleet(inventory, wrong)


def test_missing_inventory_is_told_and_not_run_on_nobody(tmp_path: Path) -> None:
    with pytest.raises(InventoryMissing) as caught:
        read_fleet(tmp_path / "nope")
    assert caught.value.exit == Exit.USAGE


def test_inventory_without_hosts_is_told(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {children: {gpu: {hosts: {}}}}\n")
    with pytest.raises(InventoryEmpty):
        read_fleet(tmp_path)


def test_broken_yaml_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all:\n  hosts: [oops\n")
    with pytest.raises(FileSyntaxWrong, match=r"hosts\.yml:2: "):
        read_fleet(tmp_path)


def test_pyinfra_inventory_file_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "inventory.py"
    path.write_text("gpu = ['g1', ('g2', {'ssh_user': 'ops'})]\n")
    # in a process of its own: reading it has gevent patch Python, which must come before all else
    listed = subprocess.run([STEELYARD, "inventory", "--list", "-i", path], capture_output=True, text=True, check=True)
    found = json.loads(listed.stdout)
    assert found["gpu"]["hosts"] == ["g1", "g2"]
    assert found["_meta"]["hostvars"]["g2"]["ssh_user"] == "ops"


def test_ansible_connection_variables_reach_pyinfra(inventory: Path) -> None:
    (inventory / "group_vars" / "all" / "connection.yml").write_text(
        "ansible_user: ops\nansible_become: true\nansible_ssh_common_args: -o UserKnownHostsFile=/k -o "
        "StrictHostKeyChecking=yes\n"
    )
    assert connection_data(read_fleet(inventory).host("g1")) == {
        "ssh_hostname": "10.0.0.1",
        "ssh_user": "ops",
        "_sudo": True,
        "ssh_known_hosts_file": "/k",
        "ssh_strict_host_key_checking": "yes",
    }


def test_what_is_not_said_of_host_keys_is_left_to_the_files_of_ssh(inventory: Path) -> None:
    """And strict where they say nothing either: see test_ssh_settings.py."""
    assert "ssh_strict_host_key_checking" not in connection_data(read_fleet(inventory).host("g2"))


@pytest.mark.parametrize(("text", "sudo"), [("true", True), ("yes", True), ("false", False), ("no", False)])
def test_become_of_an_ini_file_is_a_truth_and_not_a_text(tmp_path: Path, text: str, sudo: bool) -> None:
    (tmp_path / "hosts.ini").write_text(f"[gpu]\ng1 ansible_become={text} ansible_port=2222\n")
    found = connection_data(read_fleet(tmp_path / "hosts.ini").host("g1"))
    assert (found["_sudo"], found["ssh_port"]) == (sudo, 2222)


def test_of_two_names_of_a_connection_variable_the_later_holds_as_ansible_has_it() -> None:
    """Unread, the login would go to the host's name, as whoever runs the command. Ansible's own order:
    test_ansible_connection.py.
    """
    from steelyard.inventory.connection import connection_data, wrong_connection
    from steelyard.inventory.fleet import FleetHost

    older = {
        "ansible_ssh_host": "192.0.2.7",
        "ansible_ssh_port": 2222,
        "ansible_ssh_user": "ops",
        "ansible_private_key_file": "/k",
    }
    host = FleetHost("g1", (), older)
    data = connection_data(host)
    assert (host.address, data["ssh_hostname"]) == ("192.0.2.7", "192.0.2.7")
    assert (data["ssh_port"], data["ssh_user"], data["ssh_key"]) == (2222, "ops", "/k")
    both = FleetHost("g1", (), {**older, "ansible_host": "192.0.2.8", "ansible_user": "root"})
    assert (both.address, connection_data(both)["ssh_hostname"]) == ("192.0.2.7", "192.0.2.7")
    assert connection_data(both)["ssh_user"] == "ops"
    assert [name for name, *_ in wrong_connection(FleetHost("g1", (), {"ansible_ssh_port": "many"}))] == [
        "ansible_ssh_port"
    ]
