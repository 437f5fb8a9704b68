"""Templates of an inventory are evaluated as ansible-core does: per host, only where they are read, by its tags of
trust; what cannot be resolved is one sentence of that host alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from steelyard.errors import (
    HostVariablesClosed,
    LookupFailed,
    SteelyardError,
    TemplateRecursive,
    TemplateWrong,
    VariableUndefined,
    VaultPasswordWrong,
    VaultValueClosed,
)
from steelyard.inventory.ansible import encrypt_value, read_ansible
from steelyard.inventory.fleet import Fleet
from steelyard.inventory.read import read_fleet
from steelyard.site.resolve import site_of
from steelyard.site.validation import check_settings

HOSTS = """
all:
  children:
    gpu: {hosts: {g1: {n: 1}, g2: {n: 2}}}
    mirror: {hosts: {m1: {n: 9}}}
"""


def inventory(folder: Path, **files: str) -> Path:
    """An inventory of three hosts, and variables of `all` by file, `group_NAME` for a group, `host_NAME` for a host."""
    (folder / "group_vars" / "all").mkdir(parents=True, exist_ok=True)
    (folder / "host_vars").mkdir(exist_ok=True)
    (folder / "hosts.yml").write_text(files.pop("hosts", HOSTS))
    for name, text in files.items():
        kind, _, rest = name.partition("_")
        place = {"group": f"group_vars/{rest}.yml", "host": f"host_vars/{rest}.yml"}.get(
            kind, f"group_vars/all/{name}.yml"
        )
        (folder / place).write_text(text)
    return folder


def value(fleet: Fleet, name: str, host: str = "g1") -> object:
    return fleet.host(host).variables[name]


def test_templates_are_resolved_for_each_host_wherever_they_are_read(tmp_path: Path) -> None:
    path = inventory(
        tmp_path,
        all='ansible_host: "10.0.0.{{ n }}"\nansible_port: "{{ 2200 + n }}"\nbase_port: 8000\n'
        'vllm: {memory_gib: "{{ n * 8 }}"}\nhf_mirrors: ["http://{{ groups.mirror[0] }}/"]\n',
        models='models:\n  llm/tiny:\n    version: "v{{ hostvars.m1.n }}"\n    source: file:///m\n    alias: tiny\n'
        '    serve: {hosts: "{{ serving }}", port: "{{ base_port + 1 }}"}\nserving: "gpu:!g2"\n',
    )
    fleet = read_fleet(path)
    assert [host.address for host in fleet.hosts] == ["10.0.0.1", "10.0.0.2", "10.0.0.9"]
    assert [value(fleet, "ansible_port", name) for name in ("g1", "g2")] == [2201, 2202]
    assert value(fleet, "vllm", "g2") == {"memory_gib": 16}
    assert value(fleet, "hf_mirrors") == ["http://m1/"]
    [service] = site_of(fleet).services
    assert (service.host, service.version, service.serve.port) == ("g1", "v9", 8001)


def test_types_are_native_and_text_with_more_than_the_template_is_text(tmp_path: Path) -> None:
    said = (
        'gateway: {a: "{{ 8000 + 1 }}", b: "{{ 8001 }} ", c: "{{ [1, none] }}", d: "{{ omit }}", e: "{{ n == 1 }}"}\n'
    )
    assert value(read_fleet(inventory(tmp_path, all=said)), "gateway") == {
        "a": 8001,
        "b": "8001 ",
        "c": [1, None],
        "e": True,
    }


def test_unsafe_text_and_what_constructed_makes_is_no_template(tmp_path: Path) -> None:
    path = inventory(tmp_path, all='gateway: {a: !unsafe "{{ n }}", b: "{{ raw }}"}\nraw: !unsafe "{{ n }}"\n')
    (path / "z.yml").write_text(
        "plugin: constructed\nstrict: true\ncompose:\n  rack: \"'{{ ' ~ 'n }}'\"\n  model_root: \"'/data/' ~ n\"\n"
    )
    fleet = read_fleet(path)
    assert value(fleet, "gateway") == {"a": "{{ n }}", "b": "{{ n }}"}
    assert (value(fleet, "rack"), value(fleet, "model_root", "g2")) == ("{{ n }}", "/data/2")


@pytest.mark.parametrize("source", ["ini", "program"])
def test_templates_of_other_sources_are_trusted_as_ansible_trusts_them(tmp_path: Path, source: str) -> None:
    if source == "ini":
        path = tmp_path / "hosts.ini"
        path.write_text('[gpu]\ng1 ansible_host="{{ base }}.1"\n[gpu:vars]\nbase=10.0.0\nrack="{{ base }}"\n')
    else:
        path = tmp_path / "hosts.sh"
        path.write_text(
            '#!/bin/sh\necho \'{"gpu": {"hosts": ["g1"]}, "_meta": {"hostvars": {"g1": '
            '{"base": "10.0.0", "ansible_host": "{{ base }}.1", "rack": "{{ base }}"}}}}\'\n'
        )
        path.chmod(0o755)
    fleet = read_fleet(path)
    assert (fleet.host("g1").address, value(fleet, "rack")) == ("10.0.0.1", "10.0.0")


def test_templates_that_nobody_reads_are_left_as_they_are_until_somebody_asks(tmp_path: Path) -> None:
    """Real inventories hold templates of other tools: with their filters, their lookups, their facts."""
    said = "ntp: \"{{ ansible_default_ipv4.address | other.tool }}\"\nmade: \"{{ lookup('pipe', 'touch MADE') }}\"\n"
    path = inventory(tmp_path / "a", all=said.replace("MADE", str(tmp_path / "made")) + 'mine: "{{ n + 1 }}"\n')
    for _ in range(2):  # the second is of the cache
        fleet = read_fleet(path)
        assert check_settings(fleet) == []
        assert fleet.host("g1").templates == {"ntp", "made", "mine"}
        assert value(fleet, "mine") == "{{ n + 1 }}"
        assert fleet.resolve("g2", "mine").value == 3
    assert not (tmp_path / "made").exists()


WRONG = {
    "undefined": (
        '{api_key: "{{ nope }}"}',
        VariableUndefined,
        "`vllm.api_key` cannot be resolved: 'nope' is undefined",
    ),
    "syntax": ('{api_key: "{{ a b }}"}', TemplateWrong, "the template in `vllm.api_key` does not work: Syntax error"),
    "filter": ('{api_key: "{{ n | odd_one }}"}', TemplateWrong, "No filter named 'odd_one'"),
    "recursive": ('{api_key: "{{ vllm.api_key }}"}', TemplateRecursive, "asks, in the end, for itself"),
    "file": ("{api_key: \"{{ lookup('file', '/no/token') }}\"}", LookupFailed, "Unable to access the file '/no/token'"),
    "network": ("{api_key: \"{{ lookup('url', 'http://127.0.0.1:9/') }}\"}", LookupFailed, "Connection refused"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_resolved_is_one_sentence_of_that_host_with_file_and_line(tmp_path: Path, case: str) -> None:
    text, kind, words = WRONG[case]
    fleet = read_fleet(inventory(tmp_path, host_g2=f"note: 1\nvllm: {text}\n"))
    assert [(host.name, type(host.error)) for host in fleet.hosts if host.error] == [("g2", kind)]
    error = fleet.host("g2").error
    assert error is not None
    assert words in str(error)
    assert "\n" not in str(error)
    assert error.where == f"{tmp_path}/host_vars/g2.yml:2"
    assert check_settings(fleet) == []


def test_each_wrong_value_of_a_section_has_its_own_keys(tmp_path: Path) -> None:
    fleet = read_fleet(
        inventory(tmp_path, group_gpu='gateway:\n  clients:\n    - {key: "{{ n }}"}\n    - {key: "{{ none_such }}"}\n')
    )
    error = fleet.host("g1").error
    assert isinstance(error, VariableUndefined)
    assert (error.key, error.where) == ("gateway.clients.1.key", f"{tmp_path}/group_vars/gpu.yml:4")


def test_who_needs_an_address_that_cannot_be_resolved_gets_that_error(tmp_path: Path) -> None:
    models = "models:\n  llm/tiny: {version: v1, source: 'file:///m', alias: tiny, serve: {hosts: gpu}}\n"
    site = site_of(read_fleet(inventory(tmp_path, host_g2='ansible_host: "{{ nope }}"\n', models=models)))
    assert site.addresses["g1"] == "g1"
    with pytest.raises(VariableUndefined):
        site.addresses["g2"]
    with pytest.raises(VariableUndefined):
        site.aliases()


# The vault


def encrypted(path: Path, text: str, password: Path) -> None:
    path.write_text(encrypt_value(text, password))


def test_two_vault_ids_open_what_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible import constants

    passwords = {name: tmp_path / name for name in ("prod", "rack")}
    for name, file in passwords.items():
        file.write_text(f"word of {name}\n")
    path = inventory(tmp_path / "site", all='vllm: {api_key: "{{ of_group }}-{{ of_all }}"}\nof_group: x\n')
    encrypted(path / "group_vars/all/vault.yml", "of_all: all-of-prod\n", passwords["prod"])
    encrypted(path / "group_vars/gpu.yml", "of_group: group-of-rack\n", passwords["rack"])
    monkeypatch.setattr(constants, "DEFAULT_VAULT_IDENTITY_LIST", [f"rack@{passwords['rack']}"])
    fleet = read_fleet(path, passwords["prod"])
    assert value(fleet, "vllm") == {"api_key": "group-of-rack-all-of-prod"}
    assert value(fleet, "vllm", "m1") == {"api_key": "x-all-of-prod"}


def test_a_vault_file_of_another_password_is_the_error_of_its_hosts_alone(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_text("mine\n")
    other.write_text("other\n")
    path = inventory(tmp_path / "site")
    encrypted(path / "group_vars/all/vault.yml", "hf_token: opened-by-mine\n", mine)
    encrypted(path / "group_vars/mirror.yml", "hf_token: opened-by-other\n", other)
    fleet = read_fleet(path, mine)
    assert {host.name: type(host.error) for host in fleet.hosts if host.error} == {"m1": HostVariablesClosed}
    assert value(fleet, "hf_token") == "opened-by-mine"
    with pytest.raises(VaultPasswordWrong):
        nobody = tmp_path / "nobody"
        nobody.write_text("nobody's\n")
        read_fleet(path, nobody)


def test_a_value_of_another_password_is_an_error_only_where_it_is_read(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_text("mine\n")
    other.write_text("other\n")

    def inline(text: str, password: Path) -> str:
        return "!vault |\n" + "\n".join("    " + line for line in encrypt_value(text, password).splitlines())

    path = inventory(
        tmp_path / "site",
        all=f"hf_token: {inline('of-mine-1', mine)}\nforeign: {inline('of-other-1', other)}\n",
        host_g1=f"vllm:\n  api_key: {inline('of-other-2', other)}\n",
        host_g2='vllm: {api_key: "{{ foreign }}"}\n',
    )
    fleet = read_fleet(path, mine)
    errors: dict[str, SteelyardError] = {host.name: host.error for host in fleet.hosts if host.error}
    assert {name: type(error) for name, error in errors.items()} == {"g1": VaultValueClosed, "g2": VaultValueClosed}
    assert errors["g1"].where == f"{path}/host_vars/g1.yml:2"
    assert str(value(fleet, "foreign", "m1")).startswith("$ANSIBLE_VAULT")


@pytest.mark.parametrize(
    ("template", "kept"),
    [
        ("{{ n + 1 }}", True),
        ("{{ groups.gpu | map('upper') | join(',') }}", True),
        ("{{ lookup('file', FILE) }}", False),
        ("{{ through }}", False),
        ("{{ n | random }}", False),
        ("{{ n | some.collection.filter | default(1) if false else n }}", False),
        ("{{ now().year }}", False),
        ("{{ 1 if FILE is exists else 2 }}", False),
    ],
)
def test_what_asks_for_more_than_the_inventory_is_read_anew_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str, kept: bool
) -> None:
    asked: list[Path] = []

    def counted(path: Path, password: Path | None) -> Fleet:
        asked.append(path)
        return read_ansible(path, password)

    monkeypatch.setattr("steelyard.inventory.read._read_ansible", counted)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "token"
    file.write_text("one")
    said = f'rack: "{template}"\nthrough: "{{{{ lookup(\'file\', FILE) }}}}"\n'.replace("FILE", f"'{file}'")
    path = inventory(tmp_path / "site", all=said)
    first = read_fleet(path)
    file.write_text("two")
    second = read_fleet(path)
    assert len(asked) == (1 if kept else 2)
    if "lookup" in template or "through" in template:
        assert (value(first, "rack"), value(second, "rack")) == ("one", "two")
    if kept:
        assert [(host.variables, host.written) for host in first.hosts] == [
            (host.variables, host.written) for host in second.hosts
        ]


# A run over hosts of which one has an error


def test_other_hosts_are_planned_and_a_deploy_of_ones_own_reads_what_it_asks_for(tmp_path: Path) -> None:
    from test_execution import Pretended

    from steelyard.engine.session import Session

    said = 'mine: "{{ n + 1 }}"\nnobodys: "{{ nope }}"\n'
    fleet = read_fleet(inventory(tmp_path / "site", all=said, host_g2='vllm: {api_key: "{{ nope }}"}\n'))
    deploy = tmp_path / "deploy.py"
    deploy.write_text(
        "from pyinfra import host\nfrom pyinfra.operations import server\n"
        'server.shell(name="Use it", commands=[f"use {host.data.mine}"])\n'
    )
    names = tuple(host.name for host in fleet.hosts)
    with Session(fleet, site_of(fleet), names, deploy, Pretended) as session:
        plan = session.look()
    planned = {host.host: [command.text for task in host.tasks for command in task.commands] for host in plan.hosts}
    assert {name: "use 2" in str(planned[name]) for name in planned} == {"g1": True, "g2": False, "m1": False}
    assert "use 10" in str(planned["m1"])
    assert {host.host: type(host.error) for host in plan.hosts if host.error} == {"g2": VariableUndefined}
