"""A value of one host that cannot be had is one sentence, with file and line, of that host; the others are planned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_execution import Pretended
from test_templates import encrypted, inventory

from steelyard.engine.session import Session
from steelyard.errors import (
    ConnectionNotSupported,
    HostVariablesClosed,
    LookupFailed,
    SettingWrong,
    SteelyardError,
    TemplateRecursive,
    TemplateWrong,
    VariableUndefined,
    VaultValueClosed,
)
from steelyard.inventory.ansible import encrypt_value
from steelyard.inventory.connection import connection_problems
from steelyard.inventory.fleet import Fleet
from steelyard.inventory.read import read_fleet
from steelyard.site.resolve import site_of

SERVED = "models:\n  llm/tiny: {version: v1, source: 'file:///m', alias: tiny, serve: {hosts: 'gpu:!g2', port: 8001}}\n"


def vaulted(text: str, password: Path) -> str:
    """A value encrypted by itself, as YAML has it."""
    return "!vault |\n" + "\n".join("    " + line for line in encrypt_value(text, password).splitlines()) + "\n"


def of_another_password(folder: Path) -> dict[str, str]:
    return {"host_g2": "vllm:\n  api_key: " + vaulted("of-another", folder / "other")}


def through_another_variable(folder: Path) -> dict[str, str]:
    return {"host_g2": "rack: '{{ theirs }}'\ntheirs: " + vaulted("of-another", folder / "other")}


def with_two_ids(folder: Path) -> dict[str, str]:
    """One value of the password that is given, and one of an id that is not."""
    said = "hf_token: " + vaulted("of-mine", folder / "mine") + "rack: " + vaulted("of-another", folder / "other")
    return {"host_g2": said}


Files = Callable[[Path], dict[str, str]]
CASES: dict[str, tuple[type[SteelyardError], str, Files]] = {
    "undefined": (VariableUndefined, "host_vars/g2.yml:1", lambda _: {"host_g2": "rack: '{{ nope.inner }}'\n"}),
    "undefined address": (VariableUndefined, "host_vars/g2.yml:1", lambda _: {"host_g2": "ansible_host: '{{ ip }}'\n"}),
    "undefined for one host": (
        VariableUndefined,
        "group_vars/all/all.yml:1",
        lambda _: {"all": "rack: '{{ of[n] }}'\nof: {1: a, 9: c}\n"},
    ),
    "syntax": (TemplateWrong, "host_vars/g2.yml:2", lambda _: {"host_g2": "a: 1\nvllm: {api_key: '{{ a b }}'}\n"}),
    "no such filter": (TemplateWrong, "host_vars/g2.yml:1", lambda _: {"host_g2": "rack: '{{ n | nofilter }}'\n"}),
    "division": (TemplateWrong, "host_vars/g2.yml:1", lambda _: {"host_g2": "rack: '{{ 1 / (n - 2) }}'\n"}),
    "recursive": (TemplateRecursive, "host_vars/g2.yml:1", lambda _: {"host_g2": "rack: '{{ rack }}'\n"}),
    "recursive by two": (
        TemplateRecursive,
        "host_vars/g2.yml:1",
        lambda _: {"host_g2": "rack: '{{ b }}'\nb: '{{ c }}'\nc: '{{ b }}'\n"},
    ),
    "wrong vault id": (VaultValueClosed, "host_vars/g2.yml:2", of_another_password),
    "wrong vault id behind a template": (VaultValueClosed, "host_vars/g2.yml:1", through_another_variable),
    "one of two vault ids": (VaultValueClosed, "host_vars/g2.yml:8", with_two_ids),
    "network": (
        LookupFailed,
        "host_vars/g2.yml:1",
        lambda _: {"host_g2": "hf_token: \"{{ lookup('url', 'http://127.0.0.1:9/token') }}\"\n"},
    ),
    "a file": (
        LookupFailed,
        "host_vars/g2.yml:1",
        lambda _: {"host_g2": "hf_token: \"{{ lookup('ansible.builtin.file', '/nowhere/token') }}\"\n"},
    ),
    "a collection that is not here": (
        LookupFailed,
        "host_vars/g2.yml:1",
        lambda _: {"host_g2": "hf_token: \"{{ lookup('community.hashi_vault.hashi_vault', 'secret=x') }}\"\n"},
    ),
}


def planned(fleet: Fleet, folder: Path) -> tuple[set[str], dict[str, SteelyardError]]:
    """The hosts of which a plan knows what changes, and the errors of the others."""
    deploy = folder / "deploy.py"
    deploy.write_text("from pyinfra.operations import server\nserver.shell(name='Say it', commands=['true'])\n")
    names = tuple(host.name for host in fleet.hosts)
    with Session(fleet, site_of(fleet), names, deploy, Pretended) as session:
        plan = session.look()
    return {host.host for host in plan.hosts if host.tasks}, {
        host.host: host.error for host in plan.hosts if host.error is not None
    }


@pytest.mark.parametrize("case", CASES)
def test_one_host_has_an_error_and_the_others_are_planned(tmp_path: Path, case: str) -> None:
    kind, where, files = CASES[case]
    for name in ("mine", "other"):
        (tmp_path / name).write_text(f"{name}\n")
    opened = "serves: " + vaulted("yes", tmp_path / "mine")  # else the password would be the wrong one
    path = inventory(tmp_path / "site", models=SERVED, opened=opened, **files(tmp_path))
    fleet = read_fleet(path, tmp_path / "mine")
    well, errors = planned(fleet, tmp_path)
    assert (well, {name: type(error) for name, error in errors.items()}) == ({"g1", "m1"}, {"g2": kind})
    error = errors["g2"]
    assert error.where == f"{path}/{where}"
    assert "\n" not in str(error)
    assert len(str(error)) < len(str(path)) + 420
    assert error.remedy
    assert "of-another" not in str(error)


def test_a_vault_file_of_a_group_that_does_not_open_is_the_error_of_its_hosts(tmp_path: Path) -> None:
    for name in ("mine", "other"):
        (tmp_path / name).write_text(f"{name}\n")
    hosts = "all: {children: {gpu: {hosts: {g1: , g2: }}, rack2: {hosts: {g2: }}, mirror: {hosts: {m1: }}}}\n"
    path = inventory(tmp_path / "site", hosts=hosts, models=SERVED)
    encrypted(path / "group_vars/all/vault.yml", "hf_token: opened-by-mine\n", tmp_path / "mine")
    encrypted(path / "group_vars/rack2.yml", "hf_token: of-the-rack\n", tmp_path / "other")
    well, errors = planned(read_fleet(path, tmp_path / "mine"), tmp_path)
    assert (well, {name: type(error) for name, error in errors.items()}) == (
        {"g1", "m1"},
        {"g2": HostVariablesClosed},
    )


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ('ansible_ssh_common_args: "-o \'ProxyJump=x"\n', SettingWrong),
        ("ansible_connection: community.docker.docker\n", ConnectionNotSupported),
        ("ansible_port: '{{ n }}x'\n", SettingWrong),
    ],
)
def test_a_connection_that_cannot_be_made_is_told_for_its_host_alone(
    tmp_path: Path, said: str, kind: type[SteelyardError]
) -> None:
    fleet = read_fleet(inventory(tmp_path / "site", models=SERVED, host_g2=said))
    problems = {host.name: [type(error) for error in connection_problems(fleet, host)] for host in fleet.hosts}
    assert problems == {"g1": [], "g2": [kind], "m1": []}


def test_a_sentence_shows_nothing_of_a_vault(tmp_path: Path) -> None:
    """Not what a template made of it either, which nobody else knows to be a secret."""
    (tmp_path / "mine").write_text("mine\n")
    made = ("sorrel", "SORREL", b"sorrel".hex(), "lerros")
    for template in (
        "{{ lookup('file', '/nowhere/' + word | upper) }}",
        "{{ lookup('file', '/nowhere/' + word | reverse) }}",
        "{{ {'a': 1}[word | upper] }}",
        "{{ word | upper | int(default='x') + 1 }}",
        "{{ word | upper | from_json }}",
        "{{ lookup(word | upper, 1) }}",
    ):
        path = inventory(tmp_path / "site", host_g2=f'rack: "{template}"\nword: {vaulted("sorrel", tmp_path / "mine")}')
        error = read_fleet(path, tmp_path / "mine").host("g2").error
        assert error is not None, template
        assert [word for word in made if word in str(error)] == [], template
    said = vaulted("-o 'sorrel", tmp_path / "mine")
    for name in ("ansible_port", "ansible_ssh_extra_args", "ansible_connection"):
        fleet = read_fleet(inventory(tmp_path / "site", host_g2=f"{name}: {said}"), tmp_path / "mine")
        [problem] = connection_problems(fleet, fleet.host("g2"))
        assert "sorrel" not in str(problem)
