"""What came out of a vault, by itself or with its whole file, or was made of such a value, is shown nowhere and kept
nowhere in the clear; and what is no secret of such a file leaves the output readable.
"""

from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from test_cli import run

from steelyard.dirs import cache_folder
from steelyard.inventory.ansible import encrypt_value
from steelyard.inventory.listing import masked
from steelyard.inventory.read import read_fleet
from steelyard.render.redaction import Redactor

VAULT = """
vault_key: canary-of-the-file
vault_pin: 48151623
vault_port: 8443
vault_truth: true
vault_user: ops
vault_team: {token: tok3n, note: inventory}
open_word: storehouse
also_open: storehouse
"""
READ = """
stated: storehouse
gateway:
  clients:
    plain: "{{ vault_key }}"
    inside: "Bearer {{ vault_key }}"
    changed: "{{ vault_key | upper | b64encode }}"
    hashed: "{{ vault_key | hash('sha256') }}"
  port: "{{ vault_port }}"
vllm: {api_key: "{{ hostvars.g1.vault_team.token }}", memory_gib: "{{ [8, 16] | max }}"}
ansible_user: "{{ vault_user }}"
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "site"
    (path / "group_vars/all").mkdir(parents=True)
    (path / ".vault-password").write_text("open\n")
    (path / "hosts.yml").write_text("all: {hosts: {g1: }}\n")
    (path / "group_vars/all/read.yml").write_text(READ)
    (path / "group_vars/all/vault.yml").write_text(encrypt_value(VAULT, path / ".vault-password"))
    return path


def derived(path: Path) -> list[str]:
    """Every text that must not be seen."""
    clients = read_fleet(path).hosts[0].variables["gateway"]["clients"]
    return ["canary-of-the-file", "48151623", "tok3n", *(text for text in clients.values())]


@pytest.mark.parametrize("again", [False, True])
def test_what_is_masked_everywhere_is_secret_and_long_enough_to_be_one(site: Path, again: bool) -> None:
    if again:
        read_fleet(site)
    fleet = read_fleet(site)
    assert set(derived(site)) <= fleet.secrets
    assert not {"8443", "true", "True", "ops", "storehouse", "inventory", "16"} & {
        word for word in fleet.secrets if word != "inventory"
    }
    assert fleet.host("g1").variables["gateway"]["port"] == 8443


def test_inventory_lists_a_mask_for_each_value_out_of_a_vault_however_short(site: Path) -> None:
    listed = json.loads(run("inventory", "-i", str(site), "--list").stdout)["_meta"]["hostvars"]["g1"]
    hidden = {name: listed[name] for name in ("vault_key", "vault_port", "vault_truth", "vault_user", "open_word")}
    assert hidden == dict.fromkeys(hidden, "********") | {"vault_truth": True}
    assert listed["vault_team"] == {"token": "********", "note": "********"}
    assert listed["stated"] == "storehouse"
    assert listed["gateway"]["clients"]["plain"] == "{{ vault_key }}"
    host = read_fleet(site).host("g1")
    shown = masked(host.variables, (), host.hidden)
    assert (shown["gateway"]["port"], shown["vllm"]["memory_gib"]) == ("********", 16)
    assert set(shown["gateway"]["clients"].values()) == {"********"}
    value = run("inventory", "-i", str(site), "--value", "gateway.port").stdout
    assert value.strip() == "********"


def test_nothing_of_a_vault_is_kept_in_the_clear(site: Path) -> None:
    secrets = derived(site)
    kept = [path for path in cache_folder().rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        content = path.read_bytes()
        assert [text for text in [*secrets, "vault_user", "storehouse"] if text.encode() in content] == []


def test_a_fleet_with_a_vault_is_not_kept_where_a_program_gives_the_password(site: Path) -> None:
    program = site / ".vault-password"
    program.write_text("#!/bin/sh\necho open\n")
    program.chmod(0o755)
    assert read_fleet(site).host("g1").variables["vault_key"] == "canary-of-the-file"
    assert [path for path in (cache_folder() / "inventory").glob("*") if not path.suffix] == []


@pytest.mark.parametrize("secret", ["p@ss word/1+2", "geheim-ä-ß-9", 'quote"and\\slash', "abcdefgh", "it's ???>>>~~~"])
def test_a_secret_is_masked_as_json_urls_shells_and_base64_write_it(secret: str) -> None:
    redactor = Redactor([secret])
    encoded = base64.b64encode(secret.encode()).decode()
    quoted = [quote(secret, safe=""), quote(secret), quote_plus(secret), quote(secret, safe="").lower()]
    written = [json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret), shlex.quote(secret)]
    url_safe = base64.urlsafe_b64encode(secret.encode()).decode()
    for form in [secret, *written, encoded, url_safe, *(quoted if secret == secret.lower() else quoted[:3])]:
        assert redactor.mask(f"a {form} b").strip("ab \"'=") == "********", form
    for name in ("", "a", "ab", "user:"):
        header = base64.b64encode(f"{name}{secret}:x".encode()).decode()
        assert "********" in redactor.mask(header)
        assert encoded.rstrip("=") not in redactor.mask(header)
    assert redactor.mask("nothing of it here: abc def ghi") == "nothing of it here: abc def ghi"


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    lines = [
        "-----BEGIN PRIVATE KEY-----",
        "MIGHAgEAMBMGByqGSM49AgEG",
        "CCqGSM49AwEHBG0wawIBAQQg",
        "-----END PRIVATE KEY-----",
    ]
    redactor = Redactor(["\n".join(lines) + "\n"])
    shown = redactor.mask("\n".join(f"+   {line}" for line in lines))
    assert shown.splitlines() == [f"+   {lines[0]}", "+   ********", "+   ********", f"+   {lines[3]}"]


def test_what_a_deploy_of_ones_own_makes_of_a_vault_value_is_secret_too(site: Path) -> None:
    with (site / "group_vars/all/read.yml").open("a") as file:
        file.write('mine: "{{ vault_key | upper }}"\nport: "{{ vault_port }}"\n')
    for _ in range(2):  # the second is of the cache
        fleet = read_fleet(site)
        resolved = fleet.resolve("g1", "mine")
        assert (resolved.value, resolved.secrets) == ("CANARY-OF-THE-FILE", {"CANARY-OF-THE-FILE"})
        assert fleet.resolve("g1", "port").hidden == {("port",)}
    assert run("inventory", "-i", str(site), "--value", "port").stdout.strip() == "********"
