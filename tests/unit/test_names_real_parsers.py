"""Whatever names and values are allowed, what is written with them is read by the real programs as it was meant."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from support.gateway_config import gateway_config
from support.real_parsers import environment_of, haproxy_says, verified
from support.written_values import WRITTEN

from steelyard.api import names
from steelyard.api.template import render
from steelyard.api.unit_text import environment_value
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.roles import dify, gateway, registry_mirror, vllm
from steelyard.roles.gateway.clients import Client
from steelyard.roles.gateway.settings import ClientLimit
from steelyard.roles.gateway.settings import Settings as GatewaySettings
from steelyard.roles.vllm.engine import VLLM
from steelyard.site.resolve import site_of
from steelyard.site.schema import Serve
from steelyard.site.site import Service, backend_name, service_name
from steelyard_host.engine import service as host_service

HERE = Path(vllm.__file__).parent / "templates"
GATEWAY = Path(gateway.__file__).parent / "templates"
ENVIRONMENT = TypeAdapter(dict[names.EngineVariable, names.EngineValue])
SLOW = settings(max_examples=60, suppress_health_check=list(HealthCheck))
FEW = settings(max_examples=8, suppress_health_check=list(HealthCheck))

SPECIAL = "\\\"'$`%#;=!&|<>*?{}[]()~ \tnrx0\u2028\x85\u00a0\ufeffäß漢🚀"
VALUES = st.text(st.sampled_from(SPECIAL) | st.characters(), max_size=30)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
FURTHER = ["%i %%", "; no comment", '{"a": [1, "zwei"]}', "a=b=c"]


def env_file(environment: dict[str, str]) -> str:
    given = {key: environment_value(value) for key, value in environment.items()}
    engine = "/opt/steelyard/engines/vllm-0.32.0"
    return render(HERE / "service.env.j2", environment=given, engine=engine, stamp="0123", turns={"SHARE": "0.9"})


OWN = ["STEELYARD_ENGINE=/opt/steelyard/engines/vllm-0.32.0", "STEELYARD_SHARE=0.9", "STEELYARD_CONFIG=0123"]


def assert_arrives(environment: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chat.env")
        path.write_text(env_file(environment))
        given = environment_of(path)
        assert given is not None
        assert sorted(given) == sorted([*(f"{key}={value}" for key, value in environment.items()), *OWN])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(host_service, "SERVICES", Path(folder))
            declared = host_service.HostService.load("chat").declared
        assert declared == {"ENGINE": "/opt/steelyard/engines/vllm-0.32.0", "SHARE": "0.9", "CONFIG": "0123"}


@pytest.mark.parametrize("value", [*WRITTEN, *FURTHER])
def test_a_value_arrives_as_it_was_declared(value: str) -> None:
    assert_arrives(ENVIRONMENT.validate_python({"A": value, "Z": "after it"}))


@SLOW
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_whatever_environment_is_allowed_arrives_at_the_process(environment: dict[str, str]) -> None:
    """Read by systemd's own code, and by the helper, which looks for its own lines in the same file."""
    try:
        ENVIRONMENT.validate_python(environment)
    except ValidationError:
        return
    assert_arrives(environment)


@given(st.text(st.characters(categories=["Cc", "Cs", "Cn"]) | st.sampled_from("ab"), max_size=4))
def test_what_systemd_does_not_take_is_refused_before(text: str) -> None:
    try:
        ENVIRONMENT.validate_python({"A": text})
    except ValidationError:
        return
    assert_arrives({"A": text})


def test_a_value_that_arrived_before_is_written_as_before() -> None:
    """Files that were good stay as they are, so no engine is started anew for the quotes."""
    for value in ("0-15", "2", "a b", 'x="y"', '{"a": 1}', "$HOME", "#1", ""):
        assert environment_value(value) == value


PROJECTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}(/[A-Za-z0-9][A-Za-z0-9._-]{0,8}){0,3}", fullmatch=True)
VERSIONS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
ALIASES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,60}", fullmatch=True)
FOLDERS = st.from_regex(r"(/\.?[A-Za-z0-9_+@=,~-][A-Za-z0-9._+@=,~-]{0,8}){1,4}", fullmatch=True)
PLACE = st.tuples(FOLDERS, PROJECTS, VERSIONS, ALIASES)


@FEW
@given(st.lists(PLACE, min_size=20, max_size=40, unique_by=lambda place: service_name(place[1], place[3])))
def test_units_of_whatever_names_are_what_systemd_takes(places: list[tuple[str, str, str, str]]) -> None:
    """Each service's drop-in as `apply` writes it, for units that systemd itself loads."""
    with tempfile.TemporaryDirectory() as folder:
        units = []
        for root, project, version, alias in places:
            name = service_name(project, alias)
            text = render(
                HERE / "version.conf.j2",
                version=f"{root}/{project}/{version}",
                name=name,
                warm_s=300,
                order=100,
                at_once=1,
                lock_bytes=1 << 30,
                root=root,
                engine="/opt/steelyard/engines/vllm-0.32.0",
                user="steelyard-engine",
                compiles=True,
            )
            template = render(
                HERE / "engine@.service.j2",
                engine=VLLM,
                user="root",
                root=root,
                wanted=SimpleNamespace(ready_s=10, drain_s=10, warm_s=10),
            )
            unit = Path(folder, f"steelyard-vllm@{name}.service")
            unit.write_text(template.replace("[Install]", text + "\n[Install]"))
            units.append(unit)
        assert verified(*units) == ""


def test_a_unit_that_is_broken_is_seen_to_be(tmp_path: Path) -> None:
    unit = tmp_path / "steelyard-vllm@x.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nBindReadOnlyPaths=no path:/run\nRestart=perhaps\n")
    assert "perhaps" in verified(unit)


CLOCKS = ["03:30", "Mon..Fri 02:00", "*-*-* 02:30:00 Europe/Berlin", "weekly", "Sat *-*-1..7 18:00:00", "*:0/15"]


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clock_that_people_write_is_one_of_systemds(tmp_path: Path, clock: str) -> None:
    TypeAdapter(names.Clock).validate_python(clock)
    timer = tmp_path / "steelyard-dify-backup.timer"
    template = Path(dify.__file__).parent / "templates/dify-backup.timer.j2"
    (tmp_path / "steelyard-dify-backup.service").write_text("[Service]\nExecStart=/bin/true\n")
    timer.write_text(render(template, at=clock))
    assert verified(timer) == ""


CLIENTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,62}", fullmatch=True)
HOSTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}", fullmatch=True)


def limited(clients: list[str]) -> GatewaySettings:
    """Settings in which each client has a key, `sk-NAME`, and limits."""
    keys = {name: Client.model_validate({"keys": [{"key": f"sk-{name}"}]}) for name in clients}
    limits = {name: ClientLimit(per_minute=number + 1, at_once=2) for number, name in enumerate(clients)}
    return GatewaySettings().model_copy(update={"clients": keys, "limits": limits})


@FEW
@given(
    st.lists(ALIASES, min_size=3, max_size=12, unique_by=lambda alias: service_name("", alias)),
    st.lists(CLIENTS, min_size=1, max_size=12, unique=True),
    st.lists(HOSTS, min_size=2, max_size=6, unique=True).filter(
        lambda hosts: not {host + "-late" for host in hosts} & set(hosts)
    ),
)
def test_a_gateway_of_whatever_names_is_what_haproxy_takes(
    aliases: list[str], clients: list[str], hosts: list[str]
) -> None:
    served = {
        alias: tuple(
            Service(service_name("", alias), "llm/x", "v1", host, f"192.0.2.{number}", alias, Serve(hosts="all"))
            for number, host in enumerate(hosts, start=1)
        )
        for alias in aliases
    }
    with tempfile.TemporaryDirectory() as folder:
        path = gateway_config(Path(folder), served, limited(clients), hosts)
        assert haproxy_says(path) == ""
        read = [line.split() for line in Path(folder, "steelyard-per-minute.map").read_text().splitlines()]
        assert read == [[name, str(clients.index(name) + 1)] for name in sorted(clients)]
        assert all(not line[0].startswith("#") for line in read)


def test_a_backend_twice_is_what_haproxy_refuses_too(tmp_path: Path) -> None:
    """The reason why `team.a` and `team-a` are refused together: here both are, as they were once rendered."""
    served = {
        alias: (Service("team-a", "llm/x", "v1", "g1", "192.0.2.1", alias, Serve(hosts="all")),)
        for alias in ("team.a", "team-a")
    }
    assert "alias-team-a" in haproxy_says(gateway_config(tmp_path, served, limited(["a"]), ["g1", "g2"]))


@FEW
@given(st.lists(ALIASES, min_size=2, max_size=30, unique_by=lambda alias: service_name("", alias)), st.booleans())
def test_a_front_of_whatever_names_is_what_haproxy_takes(aliases: list[str], with_key: bool) -> None:
    services = [(service_name("", alias), 8000 + number, number % 2 == 0) for number, alias in enumerate(aliases)]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("versions", "key", "before"):
            Path(folder, f"{name}.map").write_text("# empty\n")
        values = {name: f"{folder}/{name}.map" for name in ("versions", "key", "before")}
        path = Path(folder, "front.cfg")
        text = render(
            HERE / "front.cfg.j2",
            stamp="0123",
            services=services,
            socket="/run/s.sock",
            here="/run/h.sock",
            with_key=with_key,
            key_path="/steelyard-key",
            no_key="status 401",
            errors=[],
            **values,
        )
        path.write_text(text)
        assert haproxy_says(path) == ""


@given(st.lists(ALIASES, min_size=2, max_size=6, unique=True))
def test_aliases_of_a_site_are_as_many_backends_and_units_or_are_refused(aliases: list[str]) -> None:
    from steelyard.errors import NamesMeet, SettingWrong

    models = {
        f"llm/m{number}": {
            "source": "file:///m",
            "version": "v1",
            "alias": alias,
            "serve": {"hosts": "all", "port": 8000 + number},
        }
        for number, alias in enumerate(aliases)
    }
    host = FleetHost("g1", ("all",), {"ansible_host": "192.0.2.1", "models": models})
    fleet = Fleet(Path("inventory"), (host,), {"all": ("g1",)}, match=lambda pattern: ["g1"])
    try:
        site = site_of(fleet)
    except (NamesMeet, SettingWrong):
        folded = sorted(service_name("", alias) for alias in aliases)
        unfit = {"held", "warming"} & set(folded) or max(map(len, folded)) > 73
        assert unfit or any(one == other for one, other in pairwise(folded))
        return
    assert len({service.unit for service in site.services}) == len(aliases)
    assert len({backend_name(alias) for alias in site.aliases()}) == len(aliases)


REGISTRIES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
UPSTREAMS = st.from_regex(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&()*+,;=%{}-]{0,30}[A-Za-z0-9\]_-]", fullmatch=True)


@given(REGISTRIES, UPSTREAMS, st.lists(UPSTREAMS, max_size=3))
def test_registries_of_whatever_names_are_read_as_declared(name: str, upstream: str, mirrors: list[str]) -> None:
    """By readers of TOML and of YAML, as containerd, podman and the registry have them."""
    import tomllib

    import yaml

    TypeAdapter(names.Upstream).validate_python(upstream)
    templates = Path(registry_mirror.__file__).parent / "templates"
    registry = SimpleNamespace(upstream=upstream, port=5000, limit_gb=1)
    read = yaml.safe_load(render(templates / "registry.yml.j2", name=name, registry=registry, offline=False))
    assert read["proxy"] == {"remoteurl": upstream}
    assert read["storage"]["filesystem"]["rootdirectory"] == f"/var/lib/steelyard-registry/{name}"
    urls = list(dict.fromkeys(mirrors))
    hosts = tomllib.loads(render(templates / "hosts.toml.j2", registry="docker.io", urls=urls))
    assert list(hosts.get("host", {})) == urls
    podman = tomllib.loads(render(templates / "registries.conf.j2", mirrored=[("docker.io", urls)]))
    assert [mirror["location"] for mirror in podman["registry"][0].get("mirror", [])] == [
        url.split("://")[1] for url in urls
    ]
