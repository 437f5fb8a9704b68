"""Secrets that protect nothing are refused, plain and short ones told; none is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from steelyard.errors import SecretTwice, SecretUnusable, SteelyardError, show
from steelyard.inventory.ansible import encrypt_value, read_ansible
from steelyard.inventory.fleet import Fleet
from steelyard.site.secret_values import secret_advice, wrong_secrets
from steelyard.site.validation import secret_fields

GOOD, OTHER = "sk-4f0a9d1c77e2b35d18aa", "sk-99b1c0de4c5577a0ee21"
PEM = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"


def fleet(tmp_path: Path, **variables: object) -> Fleet:
    folder = tmp_path / "group_vars/all"
    folder.mkdir(parents=True)
    (tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    gw-1:\n    gpu-1:\n")
    (folder / "roles.yml").write_text(yaml.safe_dump(variables, allow_unicode=True))
    return read_ansible(tmp_path)


def wrong(tmp_path: Path, **variables: object) -> list[SteelyardError]:
    return wrong_secrets(fleet(tmp_path, **variables), secret_fields())


PLACEHOLDERS = """
changeme
CHANGEME
change_me
change-this
ChangeMe123
REPLACE_ME
replace-with-your-key
<your key>
<api-key>
[key]
TODO
todo: a key
TBD
FIXME
xxx
XXXXXXXX
...
****
????
your-key-here
your_api_key
my-secret-password
insert-key-here
put_your_key_here
example
dummy
placeholder
secret
password
none
null
test
123456
sk-xxxx
sk-...
sk-your-key
sk-1234
""".strip().splitlines()


@pytest.mark.parametrize("text", PLACEHOLDERS)
@pytest.mark.parametrize("section", ["gateway", "vllm"])
def test_a_placeholder_is_refused_wherever_a_secret_is_due(tmp_path: Path, text: str, section: str) -> None:
    settings: dict[str, object] = {"clients": {"dify": text}} if section == "gateway" else {"api_key": text}
    [error] = wrong(tmp_path, **{section: settings})
    assert isinstance(error, SecretUnusable)
    assert error.why == "is a placeholder, which everybody can guess"
    assert error.where.endswith("roles.yml:3" if section == "gateway" else "roles.yml:2")


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "Testing-0f93be",
        "xxl-warehouse-9f",
        "todolist7f3a",
        "exampled-by-9a",
        "secretary-77aa31",
        "your9f8e7d6c5b4a3f21",
    ],
)
def test_a_key_that_only_begins_like_a_placeholder_is_one(tmp_path: Path, text: str) -> None:
    assert wrong(tmp_path, gateway={"clients": {"dify": text}}) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("  \t", "holds nothing but spaces"),
        (f"{GOOD}\n", "holds a line break"),
        (f"{GOOD}\x00", "holds a line break or another control character"),
        (f"{GOOD} {GOOD}", "holds a space"),
        (f" {GOOD}", "holds a space"),
        (f"{GOOD}\u00a0", "holds a space"),
        ("schl\u00fcssel-4f0a9d1c77e2", "not ASCII"),
    ],
)
@pytest.mark.parametrize("kind", ["client", "engine", "hub"])
def test_a_key_that_no_header_can_carry_is_refused(tmp_path: Path, text: str, why: str, kind: str) -> None:
    variables: dict[str, dict[str, object]] = {
        "client": {"gateway": {"clients": {"dify": text}}},
        "engine": {"vllm": {"api_key": text}},
        "hub": {"hf_token": text},
    }
    [error] = wrong(tmp_path, **variables[kind])
    assert why in str(error)
    assert not text.strip() or text not in show(error)


@pytest.mark.parametrize("text", ["", " ", "a\nb"])
def test_a_password_that_cannot_be_typed_is_refused(tmp_path: Path, text: str) -> None:
    for number, name in enumerate(("ansible_password", "ansible_become_password")):
        [error] = wrong(tmp_path / str(number), **{name: text})
        assert isinstance(error, SecretUnusable)


def test_a_password_may_hold_spaces_and_umlauts_and_a_certificate_lines(tmp_path: Path) -> None:
    assert wrong(tmp_path, ansible_password="drei große Worte hier", gateway={"tls_pem": PEM}) == []


def test_one_key_for_two_is_refused_and_a_client_may_have_two(tmp_path: Path) -> None:
    [error] = wrong(tmp_path / "a", gateway={"clients": {"demo": GOOD, "dify": GOOD}})
    assert isinstance(error, SecretTwice)
    assert (error.key, error.other) == ("gateway.clients.dify", "gateway.clients.demo")
    [error] = wrong(tmp_path / "b", gateway={"clients": {"dify": GOOD}}, vllm={"api_key": GOOD})
    assert isinstance(error, SecretTwice), "a client that knows the engines' key needs no gateway"
    several = {"keys": [{"key": GOOD, "until": "2026-12-31"}, {"key": OTHER}]}
    assert wrong(tmp_path / "c", gateway={"clients": {"dify": several}}) == []


def test_a_plain_secret_is_told_once_with_its_line_and_the_command_and_without_its_value(tmp_path: Path) -> None:
    site = fleet(tmp_path, gateway={"clients": {"dify": GOOD}}, vllm={"api_key": "short-77"})
    advice = secret_advice(site, secret_fields())
    by_text = {(entry.text, entry.fix) for entry in advice}
    assert len(by_text) == 3
    assert {entry.host for entry in advice} == {"gw-1", "gpu-1"}
    shown = "\n".join(f"{text} {fix}" for text, fix in sorted(by_text))
    assert "roles.yml:3: `gateway.clients.dify` lies there in plain" in shown
    assert "roles.yml:5: `vllm.api_key` has fewer than 16 characters" in shown
    assert "ansible-vault encrypt_string --vault-password-file" in shown
    assert "--stdin-name dify" in shown
    assert GOOD not in shown
    assert "short-77" not in shown


def test_an_encrypted_secret_is_told_of_only_where_it_is_short(tmp_path: Path) -> None:
    folder = tmp_path / "group_vars/all"
    folder.mkdir(parents=True)
    (tmp_path / ".vault-password").write_text("x\n")
    (tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    gw-1:\n")
    keys = {"long": GOOD, "brief": "brief-7f"}
    lines = ["gateway:", "  clients:"]
    for name, key in keys.items():
        lines += [f"    {name}: !vault |"]
        lines += [f"      {line}" for line in encrypt_value(key, tmp_path / ".vault-password").splitlines()]
    (folder / "roles.yml").write_text("\n".join(lines) + "\n")
    [entry] = secret_advice(read_ansible(tmp_path), secret_fields())
    assert "`gateway.clients.brief` has fewer than 16" in entry.text


@pytest.mark.parametrize("written", ["!unsafe '{{ key }}'", "!vault"])
def test_text_that_only_looks_like_a_template_is_a_placeholder(tmp_path: Path, written: str) -> None:
    password = tmp_path / ".vault-password"
    password.write_text("x\n")
    if written == "!vault":
        written += " |\n" + "\n".join(f"    {line}" for line in encrypt_value("{{ key }}", password).splitlines())
    [error] = wrong_secrets(files(tmp_path, roles=f"vllm:\n  api_key: {written}\n"), secret_fields())
    assert isinstance(error, SecretUnusable)
    assert error.why == "is a placeholder, which everybody can guess"


def files(tmp_path: Path, **texts: str) -> Fleet:
    """A fleet of two hosts, and files of group_vars/all as they are written."""
    folder = tmp_path / "group_vars/all"
    folder.mkdir(parents=True)
    (tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    gw-1:\n    gpu-1:\n")
    for name, text in texts.items():
        (folder / f"{name}.yml").write_text(text)
    return read_ansible(tmp_path)


TEMPLATED = """\
gateway:
  clients:
    dify: "{{ dify_key }}"
    demo: "sk-{{ tail_of_demo }}"
"""


def test_a_template_of_a_plain_variable_is_told_where_the_variable_is_written(tmp_path: Path) -> None:
    plain = f"dify_key: '{{{{ of_the_shop }}}}'\n# the shop's\nof_the_shop: {GOOD}\ntail_of_demo: {OTHER}\n"
    advice = secret_advice(files(tmp_path, roles=TEMPLATED, shop=plain), secret_fields())
    by_code = {entry.code: entry for entry in advice}
    of_dify, of_demo = by_code["plain-secret.gateway.clients.dify"], by_code["plain-secret.gateway.clients.demo"]
    assert f"{tmp_path}/group_vars/all/shop.yml:3: `gateway.clients.dify` lies there in plain" in of_dify.text
    assert "--stdin-name of_the_shop" in of_dify.fix
    assert "roles.yml:4: `gateway.clients.demo` lies there in plain" in of_demo.text, "no one place holds that text"
    assert "--stdin-name demo" in of_demo.fix


def test_a_template_of_a_vault_is_not_plain_and_of_a_placeholder_is_one(tmp_path: Path) -> None:
    password = tmp_path / ".vault-password"
    password.write_text("x\n")
    shop = "\n".join(
        f"{name}: !vault |\n" + "\n".join(f"  {line}" for line in encrypt_value(text, password).splitlines())
        for name, text in {"dify_key": GOOD, "tail_of_demo": OTHER}.items()
    )
    assert secret_advice(files(tmp_path / "a", roles=TEMPLATED), secret_fields()) == ()
    (tmp_path / "b").mkdir()
    (tmp_path / "b/.vault-password").write_text("x\n")
    assert secret_advice(files(tmp_path / "b", roles=TEMPLATED, shop=shop), secret_fields()) == ()
    site = files(tmp_path / "c", roles=TEMPLATED, shop=f"tail_of_demo: {OTHER}\ndify_key: changeme\n")
    [error] = wrong_secrets(site, secret_fields())
    assert isinstance(error, SecretUnusable)
    assert (error.where, error.key) == (f"{tmp_path}/c/group_vars/all/shop.yml:2", "gateway.clients.dify")


def test_one_variable_for_two_clients_is_the_same_key(tmp_path: Path) -> None:
    roles = "gateway:\n  clients:\n    dify: '{{ key }}'\n    demo: '{{ key }}'\n"
    [error] = wrong_secrets(files(tmp_path, roles=roles, shop=f"key: {GOOD}\n"), secret_fields())
    assert isinstance(error, SecretTwice)
    assert error.where.endswith("roles.yml:4"), "the setting is what has to change"
