"""Names and values of models.yml and settings that could leave a folder, meet another's or begin a line are refused.

Each refusal is one sentence with file, line, key, what stands there, what may, and what to do.
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from steelyard.api import names
from steelyard.errors import NamesMeet, NameWrong, SettingWrong, SteelyardError, show
from steelyard.errors.visible import one_line
from steelyard.inventory.read import read_fleet
from steelyard.site.resolve import site_of
from steelyard.site.schema import ModelsFile
from steelyard.site.site import service_name
from steelyard.site.validation import check_settings

HOSTS = "all: {children: {gpu: {hosts: {g1: {ansible_host: 192.0.2.1}, g2: {ansible_host: 192.0.2.2}}}}}\n"


def model(alias: str | None = None, port: int = 8000, hosts: str = "gpu", **more: Any) -> dict[str, Any]:
    serve = {"hosts": hosts, "port": port, **more.pop("serve", {})}
    return {"source": "file:///m", "version": "v1", "serve": serve, **({"alias": alias} if alias else {}), **more}


def inventory(folder: Path, models: dict[str, Any], roles: dict[str, Any] | None = None, hosts: str = HOSTS) -> Path:
    """An inventory in YAML, written as JSON: one key a line, whatever letters are in it."""
    (folder / "group_vars/all").mkdir(parents=True)
    (folder / "hosts.yml").write_text(hosts)
    (folder / "group_vars/all/models.yml").write_text(json.dumps({"models": models}, indent=1))
    (folder / "group_vars/all/roles.yml").write_text(json.dumps(roles or {}, indent=1))
    return folder


def refused(folder: Path, models: dict[str, Any], hosts: str = HOSTS) -> SteelyardError:
    with pytest.raises(SteelyardError) as caught:
        site_of(read_fleet(inventory(folder, models, hosts=hosts)))
    return caught.value


def whole(error: SteelyardError, file: str = "models.yml") -> None:
    """One sentence and one fix, each on a line; the place is a line of the file."""
    lines = show(error).split("\n")
    assert len(lines) == 2, lines
    assert all(one_line(line) == line for line in lines)
    assert f"{file}:" in error.where, error.where
    assert int(error.where.rsplit(":", 1)[1]) > 1
    assert error.remedy


PROJECTS = [
    "../../etc/x",
    "/abs",
    "",
    ".steelyard/published",
    "llm/x\nExecStartPre=/bin/true",
    "a//b",
    "a/",
    "a/../b",
    "a/./b",
    "_sharded/llm",
    "_compiled/x",
    "current",
    "llm/previous",
    "llm/x y",
    "llm/%i",
    "llm/ä",
    "llm/x:y",
    "llm/$(id)",
    "a/b/c/d/e/f/g/h/i",
    "x" * 121,
    "llm/x\u2028y",
    "llm/\x1b[2Jx",
]


@pytest.mark.parametrize("project", PROJECTS)
def test_a_model_whose_name_is_no_folder_of_its_own_is_refused(tmp_path: Path, project: str) -> None:
    error = refused(tmp_path, {project: model("a")})
    assert isinstance(error, NameWrong)
    assert error.section == "models"
    whole(error)


@pytest.mark.parametrize(
    "version", ["current", "previous", "v1.lock", "v1/../v2", "", "v1\n", "v1 ", "-v1", "v1:x", "%n"]
)
def test_a_version_that_is_another_things_place_is_refused(tmp_path: Path, version: str) -> None:
    error = refused(tmp_path, {"llm/a": model("a") | {"version": version}})
    assert isinstance(error, SettingWrong)
    assert error.key == "models.llm/a.version"
    whole(error)


REAL = {
    "Qwen/Qwen3-8B": ("v1.2", "qwen3-8b"),
    "meta-llama/Llama-3.1-8B-Instruct": ("2024-06-01", "meta-llama/Llama-3.1-8B-Instruct"),
    "llm/qwen3-8b": ("v1", "Qwen3.8B-AWQ"),
    "llm/teams/search/bge_m3": ("1", "bge_m3"),
    "01-ai/Yi-1.5-34B-Chat": ("5f3ee2a1", None),
    "tiny": ("v1", "gpt-4"),
}


def test_names_that_sites_have_stay_allowed(tmp_path: Path) -> None:
    models = {
        project: model(alias, 8000 + number) | {"version": version}
        for number, (project, (version, alias)) in enumerate(REAL.items())
    }
    site = site_of(read_fleet(inventory(tmp_path, models)))
    assert list(site.models) == list(REAL)
    assert {service.name for service in site.services_on("g1")} == {
        "qwen3-8b",
        "meta-llama-llama-3-1-8b-instruct",
        "bge-m3",
        "01-ai-yi-1-5-34b-chat",
        "gpt-4",
        "qwen3-8b-awq",
    }


MEETING: dict[str, tuple[dict[str, Any], str]] = {
    "one unit": ({"llm/a": model("team.a"), "llm/b": model("team-a", 8001)}, "service `team-a` on host `g1`"),
    "one unit by case": ({"llm/a": model("Chat"), "llm/b": model("chat", 8001)}, "service `chat` on host `g1`"),
    "an alias and a model": ({"llm/a": model(), "llm/b": model("llm-a", 8001)}, "service `llm-a` on host `g1`"),
    "two models": ({"llm/a": model(), "llm.a": model(port=8001)}, "service `llm-a` on host `g1`"),
    "one alias twice": ({"llm/a": model("chat"), "llm/b": model("chat", 8001)}, "service `chat` on host `g1`"),
    "one backend": (
        {"llm/a": model("team/a", hosts="g1"), "llm/b": model("team_a", hosts="g2")},
        "backend `alias-team-a` of the gateways",
    ),
    "one folder": ({"llm": model("a"), "llm/tiny": model("b", 8001)}, "its folder lies in that of `llm`"),
    "one folder, far below": ({"x/y/z": model("a"), "x": model("b", 8001)}, "its folder lies in that of `x`"),
}


@pytest.mark.parametrize("case", MEETING)
def test_names_that_are_one_on_hosts_are_refused(tmp_path: Path, case: str) -> None:
    models, why = MEETING[case]
    error = refused(tmp_path, models)
    assert isinstance(error, NamesMeet)
    assert why in str(error)
    whole(error)


def test_names_that_only_look_alike_are_not_refused(tmp_path: Path) -> None:
    models = {
        "llm": model("a"),
        "llm-tiny": model("b", 8001),
        "llm2/tiny": model("c", 8002),
        "x/a": model("shared", 8003, "g1"),
        "x/b": model("shared", 8003, "g2"),  # one alias of two models, on different hosts
    }
    assert len(site_of(read_fleet(inventory(tmp_path, models))).services) == 8


def test_a_host_named_as_anothers_twin_is_refused_where_both_serve_an_alias(tmp_path: Path) -> None:
    hosts = "all: {children: {gpu: {hosts: {g1: , g1-late: }}}}\n"
    error = refused(tmp_path, {"llm/a": model("a")}, hosts)
    assert isinstance(error, NamesMeet)
    assert "`g1-late` is the name of both" in str(error)
    whole(error)


@pytest.mark.parametrize("host", ["g 1", 'g1"x', "größe", "g1{x}", "-g1"])
def test_a_host_that_can_be_no_server_of_haproxy_is_refused_where_it_serves(tmp_path: Path, host: str) -> None:
    hosts = json.dumps({"all": {"children": {"gpu": {"hosts": {host: {"ansible_host": "192.0.2.1"}}}}}})
    error = refused(tmp_path, {"llm/a": model("a")}, hosts)
    assert isinstance(error, NameWrong)
    assert len(show(error).split("\n")) == 2


def test_an_address_that_would_be_more_words_of_haproxys_line_is_refused(tmp_path: Path) -> None:
    hosts = "all: {children: {gpu: {hosts: {\n  g1: {ansible_host: '192.0.2.1 weight 256 #'}}}}}\n"
    error = refused(tmp_path, {"llm/a": model("a")}, hosts)
    assert isinstance(error, SettingWrong)
    assert error.key == "ansible_host"
    whole(error, "hosts.yml")


@pytest.mark.parametrize("alias", ["held", "Warming", "x" * 74])
def test_a_service_with_no_folder_or_socket_of_its_own_is_refused(tmp_path: Path, alias: str) -> None:
    error = refused(tmp_path, {"llm/a": model(alias)})
    assert isinstance(error, SettingWrong)
    assert error.key == "models.llm/a.alias"
    whole(error)
    assert site_of(read_fleet(inventory(tmp_path / "longest", {"llm/a": model("x" * 73)}))).services


VARIABLES = {
    "A B": "x",
    "A=B": "x",
    "": "x",
    "1A": "x",
    "A\nB": "x",
    "Ä": "x",
    "STEELYARD_ENGINE": "/tmp/x",
    "STEELYARD_": "x",
}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_that_no_environment_has_or_is_ours_is_refused(tmp_path: Path, name: str) -> None:
    error = refused(tmp_path, {"llm/a": model("a", serve={"environment": {name: VARIABLES[name]}})})
    assert isinstance(error, NameWrong)
    assert error.section == "models.llm/a.serve.environment"
    whole(error)


@pytest.mark.parametrize(
    "value", ["x\nSTEELYARD_ENGINE=/tmp/x", "x\rA=1", "a\0b", "\x1b[2J", "a\ufdd0b", "x\uffff", "y" * 100_001]
)
def test_a_value_that_no_process_can_be_given_on_a_line_is_refused(tmp_path: Path, value: str) -> None:
    error = refused(tmp_path, {"llm/a": model("a", serve={"environment": {"A": value}})})
    assert isinstance(error, SettingWrong)
    assert error.key == "models.llm/a.serve.environment.A"
    whole(error)


def hub(**more: str) -> dict[str, Any]:
    return {"registry_mirror": {"registries": {"hub": {"port": 5000, **more}}}}


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("gateway.clients", {"gateway": {"clients": {"#ci": "sk-0123456789abcdef0"}}}),
    ("gateway.clients", {"gateway": {"clients": {"data science": "sk-0123456789abcdef0"}}}),
    ("gateway.clients", {"gateway": {"clients": {"a\nb": "sk-0123456789abcdef0"}}}),
    ("gateway.interface", {"gateway": {"interface": "eth0\n}"}}),
    ("gateway.interface", {"gateway": {"interface": "an-interface-too-long"}}),
    ("gateway.address", {"gateway": {"address": "gw/../x"}}),
    ("gateway.shared_address", {"gateway": {"shared_address": "10.0.0.300/24"}}),
    ("vllm.gpus", {"vllm": {"gpus": {"Qwen 3": ["GPU-1"]}}}),
    ("vllm.gpus.chat.0", {"vllm": {"gpus": {"chat": ["GPU-1\nExecStartPre=x"]}}}),
    ("vllm.packages.0", {"vllm": {"packages": ["-oX=y"]}}),
    ("llamacpp.packages.0", {"llamacpp": {"packages": ["a b"]}}),
    ("vllm.version", {"vllm": {"version": "0.32.0/../x"}}),
    ("docker.url", {"docker": {"url": "http://m/x\x0bSigned-By:"}}),
    ("docker.version", {"docker": {"version": "28 x"}}),
    ("nvidia_driver.version", {"nvidia_driver": {"version": "٥٨٠.95.05"}}),
    ("nvidia_driver.drain_units.0", {"nvidia_driver": {"drain_units": ["--all"]}}),
    ("nvidia_toolkit.url", {"nvidia_toolkit": {"url": "http://m/'x"}}),
    ("package_mirror.address", {"package_mirror": {"address": 'm";Acquire'}}),
    ("package_mirror.wheels", {"package_mirror": {"wheels": "/srv/w;autoindex"}}),
    ("registry_mirror.registries", {"registry_mirror": {"registries": {"../hub": {"port": 5000}}}}),
    ("registry_mirror.registries", {"registry_mirror": {"registries": {"hub.cache-only": {"port": 5000}}}}),
    ("registry_mirror.registries.hub.serves", hub(serves="../x")),
    ("registry_mirror.registries.hub.upstream", hub(upstream='http://x"]')),
    ("registry_mirror.registries.hub.upstream", hub(upstream="http://x/")),
    ("registry_mirror.mirrors", {"registry_mirror": {"mirrors": {"docker.io/../x": ["http://m"]}}}),
    ("registry_mirror.mirrors.docker.io.0", {"registry_mirror": {"mirrors": {"docker.io": ['http://m"]\n[x']}}}),
    ("preflight.resolve.0", {"preflight": {"resolve": ["a b"]}}),
    ("model_store.trusted_keys.0", {"model_store": {"trusted_keys": ["ssh-ed25519 AAAA\nroot ssh-ed25519 BBBB"]}}),
    ("dify.backups.at", {"dify": {"backups": {"at": "03:30\nOnCalendar=*:*:*"}}}),
    ("dify.backups.folder", {"dify": {"backups": {"folder": "/var/../etc"}}}),
    ("dify.folder", {"dify": {"folder": "/opt/di fy"}}),
    ("dify.env", {"dify": {"env": {"A=1\nB": "x"}}}),
    ("dify.env.A", {"dify": {"env": {"A": "1\nSECRET_KEY=x"}}}),
    ("dify.proxy.name", {"dify": {"proxy": {"name": "x;return 200"}}}),
    ("dify.ssrf_allow.0", {"dify": {"ssrf_allow": ["10.0.0.0/8 all"]}}),
    ("dify.postgres.host", {"dify": {"postgres": {"host": "db;x", "port": 5432}}}),
    ("dify.postgres.user", {"dify": {"postgres": {"host": "db", "port": 5432, "user": 'x" SUPERUSER --'}}}),
    ("dify.secrets", {"dify": {"secrets": {"DB_PASSWORD": "two words"}}}),
    ("dify.secrets", {"dify": {"secrets": {"WEAVIATE_API_KEY": "one,two"}}}),
    ("dify.secrets", {"dify": {"secrets": {"REDIS_PASSWORD": "one\ntwo"}}}),
]


@pytest.mark.parametrize(("key", "roles"), SETTINGS)
def test_a_setting_that_would_be_more_than_one_value_is_refused(
    tmp_path: Path, key: str, roles: dict[str, Any]
) -> None:
    errors = check_settings(read_fleet(inventory(tmp_path, {}, roles)))
    assert [error.section if isinstance(error, NameWrong) else getattr(error, "key", "") for error in errors] == [key]
    whole(errors[0], "roles.yml")
    assert not any(secret in show(errors[0]) for secret in ("pa$word9", "it's-1", "sk-0123456789abcdef0"))


def test_settings_that_sites_have_stay_allowed(tmp_path: Path) -> None:
    roles: dict[str, Any] = {
        "gateway": {
            "clients": {"team-a": "sk-0123456789abcdef0", "ops@example.com": "sk-0123456789abcdef1", "ci/main:1": "k"},
            "limits": {"ci/main:1": {"per_minute": 3}},
            "interface": "bond0.100",
            "address": "llm.example.com",
            "shared_address": "fd00::9/64",
        },
        "vllm": {
            "gpus": {"qwen3-8b": ["GPU-5f9f4a3e-8ad7-11ee-b9d1-0242ac120002", "MIG-GPU-1/2/0"]},
            "packages": ["python3-venv", "g++", "libc6:amd64", "linux-headers-6.1.0-18-amd64=6.1.76-1"],
        },
        "docker": {"version": "5:28.3.3-1~debian.12~bookworm", "url": "http://10.0.0.2:3142/HTTPS///d.docker.com/x"},
        "nvidia_driver": {
            "version": "580.95.05",
            "url": "http://m/{distro}/{arch}",
            "drain_units": ["engine@*.service"],
        },
        "registry_mirror": {
            "registries": {
                "hub": {
                    "port": 5000,
                    "serves": "docker.io",
                    "upstream": "https://registry-1.docker.io",
                    "probe": "library/alpine:3.20",
                },
                "local_5": {"port": 5001, "serves": "registry.example.com:5000"},
            },
            "mirrors": {"nvcr.io": ["https://m.example.com:8443"]},
        },
        "dify": {
            "backups": {"at": "Mon..Fri *-*-* 02:30:00 Europe/Berlin", "folder": "/srv/b@ckups/.dify"},
            "env": {"LOG_LEVEL": "DEBUG", "X": "'a b' # c"},
            "proxy": {"name": "dify.example.com *.example.com"},
            "ssrf_allow": ["10.0.0.0/8", "fd00::/8"],
            "postgres": {"host": "db.internal", "port": 5432, "user": "dify@pg"},
            "secrets": {"DB_PASSWORD": "Sommer+2026/ok=", "SECRET_KEY": "ä-ö!%&()"},
        },
    }
    assert [show(error) for error in check_settings(read_fleet(inventory(tmp_path, {}, roles)))] == []


PROJECT = TypeAdapter(names.Project)
ODD = st.text(alphabet=st.characters() | st.sampled_from("/.-_\n\0 %$"), max_size=40)


def is_allowed(adapter: TypeAdapter[Any], value: str) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


@given(ODD | st.from_regex(r"[a-z._/]{1,12}", fullmatch=True))
def test_an_allowed_model_lies_below_the_root_and_is_one_file_name_when_quoted(project: str) -> None:
    if is_allowed(PROJECT, project):
        folder = Path("/models") / project
        assert folder.as_posix() == f"/models/{project}"
        assert folder.resolve().is_relative_to("/models")
        assert ".steelyard" not in folder.parts
        assert service_name(project, None).strip("-")


@given(st.dictionaries(ODD, st.just({"source": "file:///m", "version": "v1"}), min_size=1, max_size=3))
def test_whatever_stands_in_models_yml_is_taken_or_told_in_one_line(models: dict[str, Any]) -> None:
    from steelyard.inventory.fleet import Fleet, FleetHost
    from steelyard.site.validation import problems

    fleet = Fleet(Path("inventory"), (FleetHost("g1", ("all",), {}),), {"all": ("g1",)}, match=lambda pattern: [])
    for error in problems(ModelsFile, {"models": models}, fleet, None, ()):
        assert all(unicodedata.category(letter) not in ("Cc", "Zl", "Zp") for letter in str(error) + error.remedy)


@pytest.mark.parametrize("ending", ["", "\n"])
def test_a_public_key_is_taken_as_its_file_has_it(tmp_path: Path, ending: str) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHcXY8wCGzD7Fyd0TtsSRSSdiSBSCqy2Zl2TdCdAmSAm ops@host" + ending
    fleet = read_fleet(inventory(tmp_path, {}, {"model_store": {"trusted_keys": [key]}}))
    assert check_settings(fleet) == []
    two = inventory(tmp_path / "two", {}, {"model_store": {"trusted_keys": [f"{key}\n{key}"]}})
    [error] = check_settings(read_fleet(two))
    whole(error, "roles.yml")
