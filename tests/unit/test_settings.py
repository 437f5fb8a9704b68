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
from steelyard.settings import check_settings, declared_secrets, role_settings
from steelyard.site import site_of

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


def test_secrets_outside_a_vault_are_known_for_masking(tmp_path: Path) -> None:
    roles = "vllm: {api_key: sk-plain}\ngateway: {clients: {a: key-of-a}}\n"
    assert declared_secrets(read_fleet(fleet_with(tmp_path, roles=roles))) == {"sk-plain", "key-of-a"}


def test_every_setting_of_every_role_is_described() -> None:
    for model in role_settings().values():
        assert model.__doc__
        assert [name for name, field in model.model_fields.items() if not field.description] == []
