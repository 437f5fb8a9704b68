"""A new site: `init` asks nothing, makes its keys, lists what only its owner knows; nothing runs before that is filled
in.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from test_cli import STEELYARD, run

from steelyard.errors import PlaceholdersLeft
from steelyard.inventory.placeholders import placeholders, placeholders_in, refuse
from steelyard.inventory.read import read_fleet
from steelyard.site.resolve import site_of
from steelyard.site.validation import check_settings, role_settings

ASKED = {"ansible_host", "ansible_user", "ansible_ssh_private_key_file", "source"}


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    done = run("init", str(tmp_path / "inventories/prod"))
    assert done.returncode == 0, done.stderr
    listed = re.findall(r"^  (\S+:\d+): (\S+)$", done.stdout, re.MULTILINE)
    inventory = tmp_path / "inventories/prod"
    assert listed == [(left.place, left.key) for left in placeholders_in(inventory)]
    return inventory


def test_init_asks_for_what_only_the_owner_knows_and_nothing_else(fresh: Path) -> None:
    assert {left.key for left in placeholders_in(fresh)} == ASKED
    for left in placeholders_in(fresh):
        path, line = left.place.rsplit(":", 1)
        assert left.word in Path(path).read_text().splitlines()[int(line) - 1]


def test_keys_of_a_new_site_are_random_and_in_its_vault_only(fresh: Path, tmp_path: Path) -> None:
    fleet = read_fleet(fresh)
    keys = {fleet.hosts[0].variables["vllm"]["api_key"], fleet.hosts[0].variables["gateway"]["clients"]["team-a"]}
    assert keys == fleet.secrets
    assert len(keys) == 2
    assert stat.S_IMODE((fresh / ".vault-password").stat().st_mode) == 0o600
    assert ".vault-password" in (fresh / ".gitignore").read_text()
    whole = "".join(path.read_text() for path in fresh.rglob("*") if path.is_file())
    assert not any(key in whole for key in keys)
    assert run("init", str(tmp_path / "other")).returncode == 0
    assert not keys & read_fleet(tmp_path / "other").secrets


def test_doctor_finds_nothing_in_a_fresh_site_but_what_is_to_be_filled_in(fresh: Path) -> None:
    found = json.loads(run("doctor", "-i", str(fresh), "--json").stdout)["findings"]
    ours = [finding for finding in found if finding["code"] != "doctor.lab"]
    assert {finding["code"] for finding in ours} == {"doctor.change-me"}
    assert len(ours) == len(placeholders_in(fresh))


def test_the_fixes_that_doctor_gives_fill_the_site_in(fresh: Path, tmp_path: Path) -> None:
    """Each is run as it stands; only the word in capitals is replaced by an answer."""
    (tmp_path / "weights").mkdir()
    key = tmp_path / "key"
    key.touch(mode=0o600)
    answers = {
        "LOGIN": "ops",
        "PRIVATE-KEY-FILE": str(key),
        "FOLDER-OF-THE-MODEL": str(tmp_path / "weights"),
        "ADDRESS-OF-GPU-01": "192.0.2.1",
        "ADDRESS-OF-GATEWAY-01": "192.0.2.2",
        "ADDRESS-OF-MIRROR-01": "192.0.2.3",
    }
    for finding in json.loads(run("doctor", "-i", str(fresh), "--json").stdout)["findings"]:
        if finding["code"] == "doctor.change-me":
            program, option, script, path = shlex.split(finding["fix"])
            number, word, asked, _ = re.split(r"s?\|", script)
            assert (program, option, word) == ("sed", "-i", finding["live"])
            subprocess.run([program, option, f"{number}s|{word}|{answers[asked]}|", path], check=True)
    fleet = read_fleet(fresh)
    assert placeholders(fleet, role_settings()) == []
    assert check_settings(fleet) == []
    assert list(site_of(fleet).aliases()) == ["qwen3-8b"]
    codes = {finding["code"] for finding in json.loads(run("doctor", "-i", str(fresh), "--json").stdout)["findings"]}
    assert codes - {"doctor.lab"} == {"doctor.host_key"}


@pytest.mark.parametrize("command", ["plan", "apply", "drift"])
def test_no_host_is_asked_while_something_is_to_be_filled_in(command: str, fresh: Path) -> None:
    done = run(command, "-i", str(fresh))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {fresh}: 6 values are still to be filled in, marked CHANGE-ME: ")
    for left in placeholders_in(fresh):
        assert f"{left.place} ({left.key})" in done.stderr
    assert f"fix: `steelyard doctor -i {fresh}` lists each" in done.stderr


def test_a_model_can_be_added_before_the_hosts_are_filled_in(fresh: Path, tmp_path: Path) -> None:
    from steelyard.lab.simulated.tiny_model import make

    weights = make(tmp_path / "weights", 1)
    for _ in range(2):  # and what is left over is no verdict that would be kept for others
        done = run("models", "add", "-i", str(fresh), "llm/small", "v1", "--source", f"file://{weights}")
        assert done.returncode == 0, done.stderr
        assert run("plan", "-i", str(fresh)).returncode == 1


def test_a_placeholder_in_a_vault_is_found_and_one_in_a_comment_is_none(tmp_path: Path) -> None:
    from steelyard.inventory.ansible import encrypt_value

    (tmp_path / "group_vars").mkdir()
    password = tmp_path / ".vault-password"
    password.write_text("secret\n")
    vaulted = "\n".join("    " + line for line in encrypt_value("CHANGE-ME-later", password).splitlines())
    (tmp_path / "hosts.ini").write_text(
        "[gpu]\ng1 ansible_host=10.0.0.1 # CHANGE-ME\n; CHANGE-ME too\ng2 ansible_host=CHANGE-ME\n"
    )
    (tmp_path / "group_vars/all.yml").write_text(f"vllm:\n  api_key: !vault |\n{vaulted}\n")
    fleet = read_fleet(tmp_path)
    assert [(left.place, left.key) for left in placeholders(fleet, role_settings())] == [
        (f"{tmp_path}/hosts.ini:4", "ansible_host"),
        (f"{tmp_path}/group_vars/all.yml:2", "api_key"),
    ]
    assert "ansible-vault encrypt_string" in placeholders(fleet, role_settings())[1].remedy(tmp_path)
    with pytest.raises(PlaceholdersLeft, match="2 values are still to be filled in"):
        refuse(fleet, placeholders(fleet, role_settings()))


def test_what_an_inventory_says_to_others_is_theirs(tmp_path: Path) -> None:
    """A site may be added to an inventory of Ansible's that holds words of its own."""
    (tmp_path / "README").write_text("grafana_password: CHANGE-ME-later\n")
    (tmp_path / "hosts.yml").write_text(
        "all:\n  vars:\n    grafana: [{password: CHANGE-ME-later}]\n    hf_token: CHANGE-ME-token\n  hosts: {g1: {}}\n"
    )
    fleet = read_fleet(tmp_path)
    assert [left.key for left in placeholders(fleet, role_settings())] == ["hf_token"]


def test_an_owner_who_fills_in_the_keys_by_hand_is_given_the_vaults_command(tmp_path: Path) -> None:
    """The example folder as it stands, without `init`."""
    example = Path(__file__).parent.parent.parent / "inventories/example"
    remedies = {left.word: left.remedy(example) for left in placeholders_in(example)}
    assert (
        f"--vault-password-file {example}/.vault-password --stdin-name api_key" in remedies["CHANGE-ME-key-of-engine"]
    )
    assert remedies["CHANGE-ME-private-key-file"].startswith("sed -i")


def test_doctor_says_which_vault_password_it_found(fresh: Path) -> None:
    done = run("doctor", "-i", str(fresh))
    assert f"vault password: {fresh}/.vault-password, found by itself" in done.stderr
    elsewhere = {key: value for key, value in os.environ.items() if key != "ANSIBLE_VAULT_PASSWORD_FILE"}
    given = [STEELYARD, "doctor", "-i", str(fresh), "--vault-password-file", str(fresh / ".vault-password")]
    told = subprocess.run(given, capture_output=True, text=True, env=elsewhere).stderr
    assert f"vault password: {fresh}/.vault-password\n" in told


def test_one_value_is_printed_by_its_keys_and_masked_unless_asked_for(fresh: Path) -> None:
    words = ("inventory", "-i", str(fresh), "--value", "gateway.clients.team-a")
    [key] = [key for key in read_fleet(fresh).secrets if key.startswith("sk-team-a-")]
    assert key not in run(*words).stdout
    assert run(*words, "--show-secrets").stdout == key + "\n"
    assert json.loads(run("inventory", "-i", str(fresh), "--value", "models").stdout)["llm/qwen3-8b"]["version"] == "v1"
    none = run("inventory", "-i", str(fresh), "--value", "gateway.cleints")
    assert (none.returncode, none.stderr.splitlines()[0]) == (
        1,
        f"error: steelyard inventory: no host of {fresh} has `gateway.cleints`",
    )
    differs = run("inventory", "-i", str(fresh), "--value", "ansible_host")
    assert "`ansible_host` is not the same for gpu-01, gateway-01, mirror-01" in differs.stderr
