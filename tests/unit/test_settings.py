"""Settings are checked for every host before a connection; an error names file, line, key, found and allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from steelyard.errors import (
    LimitMatchedNoHost,
    PortTwice,
    SettingMissing,
    SettingUnknown,
    SettingWrong,
    SteelyardError,
    show,
)
from steelyard.inventory.read import read_fleet
from steelyard.site.resolve import site_of
from steelyard.site.schema import DifyEndpoint, DifyModel, Model, ModelsFile, Serve
from steelyard.site.validation import check_settings, declared_secrets, role_settings

MODELS = """\
models:
  llm/tiny:
    source: file:///srv/tiny
    version: v1
    serve:
      hosts: gpu
      port: 8000
    alias: tiny
"""


def fleet_with(tmp_path: Path, models: str = MODELS, roles: str = "") -> Path:
    (tmp_path / "group_vars" / "all").mkdir(parents=True)
    (tmp_path / "hosts.yml").write_text("all: {children: {gpu: {hosts: {g1: , g2: }}, mirror: {hosts: {m1: }}}}\n")
    (tmp_path / "group_vars" / "all" / "models.yml").write_text(models)
    (tmp_path / "group_vars" / "all" / "roles.yml").write_text(roles or "{}\n")
    return tmp_path


def site_error(tmp_path: Path, models: str) -> SteelyardError:
    with pytest.raises(SteelyardError) as caught:
        site_of(read_fleet(fleet_with(tmp_path, models)))
    return caught.value


def test_services_and_aliases_come_from_models_yml(tmp_path: Path) -> None:
    site = site_of(read_fleet(fleet_with(tmp_path)))
    assert [(service.name, service.host, service.serve.port) for service in site.services] == [
        ("tiny", "g1", 8000),
        ("tiny", "g2", 8000),
    ]
    assert list(site.aliases()) == ["tiny"]
    assert site.stored_on == {"llm/tiny": ("g1", "g2")}


def test_unknown_key_in_models_yml_names_file_line_and_nearest_key(tmp_path: Path) -> None:
    error = site_error(tmp_path, MODELS.replace("port: 8000", "prot: 8000"))
    assert isinstance(error, SettingUnknown)
    assert error.where == f"{tmp_path}/group_vars/all/models.yml:7"
    assert (error.found, error.nearest, error.section) == ("prot", "port", "models.llm/tiny.serve")
    assert "allowed here: engine, hosts, port" in show(error)


def test_wrong_type_names_key_found_and_allowed(tmp_path: Path) -> None:
    error = site_error(tmp_path, MODELS.replace("port: 8000", "port: http"))
    assert isinstance(error, SettingWrong)
    assert error.where.endswith("models.yml:7")
    assert "setting `models.llm/tiny.serve.port` is 'http'; allowed: a valid integer" in str(error)


def test_missing_key_names_what_it_is(tmp_path: Path) -> None:
    error = site_error(tmp_path, MODELS.replace("    version: v1\n", ""))
    assert isinstance(error, SettingMissing)
    assert error.key == "models.llm/tiny.version"


def test_hosts_pattern_that_matches_nothing_names_its_line(tmp_path: Path) -> None:
    error = site_error(tmp_path, MODELS.replace("hosts: gpu", "hosts: gpux"))
    assert isinstance(error, LimitMatchedNoHost)
    assert error.where.endswith("models.yml:6")


def test_one_port_for_two_services_of_a_host_is_refused(tmp_path: Path) -> None:
    second = MODELS.replace("models:\n", "").replace("llm/tiny", "llm/other").replace("alias: tiny", "alias: other")
    error = site_error(tmp_path, MODELS + second)
    assert isinstance(error, PortTwice)
    assert (error.first, error.second, error.host) == ("tiny", "other", "g1")


def test_unknown_key_of_a_role_is_refused_with_the_nearest(tmp_path: Path) -> None:
    errors = check_settings(read_fleet(fleet_with(tmp_path, roles="gateway:\n  prot: 1\n")))
    assert [type(error) for error in errors] == [SettingUnknown]
    assert errors[0].where.endswith("roles.yml:2")


def test_section_that_is_nearly_a_role_is_a_typo(tmp_path: Path) -> None:
    errors = check_settings(read_fleet(fleet_with(tmp_path, roles="gatway:\n  port: 1\n")))
    assert [error.remedy for error in errors] == ["rename it to `gateway`, or remove it"]


def test_other_variables_of_the_inventory_are_nobodys_business(tmp_path: Path) -> None:
    assert check_settings(read_fleet(fleet_with(tmp_path, roles="app:\n  anything: 1\nntp_server: x\n"))) == []


def test_wrong_secret_is_not_shown(tmp_path: Path) -> None:
    roles = "dify:\n  url: http://x\n  email: a\n  password: [topsecret]\n"
    errors = check_settings(read_fleet(fleet_with(tmp_path, roles=roles)))
    assert errors
    assert "topsecret" not in "".join(show(error) for error in errors)


@pytest.mark.parametrize(
    "roles",
    [
        "dify:\n  url: http://x\n  password: topsecret-1\n",  # the section is wrong as a whole: there is no e-mail
        "gateway:\n  clients: {team: [topsecret-1]}\n",  # one of a map of secrets
        "vllm: [{api_key: topsecret-1}]\n",
    ],
)
def test_a_wrong_section_is_told_without_the_secrets_in_it(tmp_path: Path, roles: str) -> None:
    errors = check_settings(read_fleet(fleet_with(tmp_path, roles=roles)))
    assert errors
    assert "topsecret" not in "".join(show(error) for error in errors)


def test_secrets_outside_a_vault_are_known_for_masking(tmp_path: Path) -> None:
    roles = "vllm: {api_key: sk-plain}\ngateway: {clients: {a: key-of-a}}\n"
    assert declared_secrets(read_fleet(fleet_with(tmp_path, roles=roles))) == {"sk-plain", "key-of-a"}


def test_every_setting_of_every_role_is_described() -> None:
    for model in role_settings().values():
        assert model.__doc__
        assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_every_key_of_models_yml_is_described() -> None:
    for model in (ModelsFile, Model, Serve, DifyModel, DifyEndpoint):
        assert model.__doc__
        assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_secret_in_a_vault_is_no_template_whatever_is_in_it(tmp_path: Path) -> None:
    """As for Ansible: what `!vault` holds is text."""
    from steelyard.inventory.ansible import encrypt_value

    path = fleet_with(tmp_path)
    (path / ".vault-password").write_text("secret\n")
    lines = "\n".join("    " + line for line in encrypt_value("pass{{word", path / ".vault-password").splitlines())
    (path / "group_vars/all/roles.yml").write_text(f"vllm:\n  api_key: !vault |\n{lines}\n")
    fleet = read_fleet(path)
    assert check_settings(fleet) == []
    assert fleet.hosts[0].variables["vllm"]["api_key"] == "pass{{word"


def test_secrets_of_clients_with_several_keys_are_known_and_their_ends_are_none(tmp_path: Path) -> None:
    roles = "gateway: {clients: {a: key-of-a, b: {keys: [{key: first-of-b, until: 2031-05-01}, {key: next-of-b}]}}}\n"
    fleet = read_fleet(fleet_with(tmp_path, roles=roles))
    assert check_settings(fleet) == []
    assert declared_secrets(fleet) == {"key-of-a", "first-of-b", "next-of-b"}
    until = fleet.hosts[0].variables["gateway"]["clients"]["b"]["keys"][0]["until"]
    assert until == "2031-05-01", "a date is kept as JSON has it"


def test_wrong_end_of_a_key_is_shown_and_a_wrong_key_is_not(tmp_path: Path) -> None:
    roles = "gateway: {clients: {b: {keys: [{key: [first-of-b], until: in-may}]}}}\n"
    errors = [str(error) for error in check_settings(read_fleet(fleet_with(tmp_path, roles=roles)))]
    assert any("gateway.clients.b.keys.0.until" in error and "in-may" in error for error in errors), errors
    assert any("gateway.clients.b.keys.0.key" in error for error in errors), errors
    assert not any("first-of-b" in error for error in errors), errors
