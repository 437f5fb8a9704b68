"""The override beside the official compose file, our keys of `.env`, and the release's archive: pure values."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from steelyard.dify.compose import MEMORY, Override, compose_services, needs_compose, override_text
from steelyard.dify.environment import (
    QUIET,
    needed_secrets,
    new_secrets,
    redis_url,
    secret_values,
    workers,
    wrong_secret,
)
from steelyard.dify.source import COMPOSE, TEMPLATE, release_files
from steelyard.errors import DifyArchiveWrong
from steelyard.lab.dify_stack.archive import files_of, write_archive
from steelyard_host.dify.secret_keys import FIXED, SECRETS, STORES, unsafe_keys

PROFILES = ("weaviate", "postgresql")


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def overridden(**wanted: Any) -> dict[str, Any]:
    text = override_text(compose_services(files_of("1.16.1"), PROFILES), Override(**wanted))
    found: dict[str, Any] = yaml.load(text, _Loader)["services"]
    return found


def test_only_services_of_the_profiles_are_named() -> None:
    names = {service.name for service in compose_services(files_of("1.16.1"), PROFILES)}
    assert {"api", "db_postgres", "weaviate"} <= names
    assert "certbot" not in names
    assert "db_postgres" not in {service.name for service in compose_services(files_of("1.16.1"), ("weaviate",))}


def test_every_service_has_bounded_logs_and_those_without_a_health_check_get_one() -> None:
    found = overridden()
    assert all(service["logging"]["options"]["max-size"] for service in found.values())
    assert {name for name, service in found.items() if "healthcheck" in service} == {
        "plugin_daemon",
        "web",
        "nginx",
        "weaviate",
        "redis",
    }
    assert found["api"]["deploy"]["resources"]["limits"]["memory"] == MEMORY["api"]


def test_the_debug_port_leaves_the_network_and_replaces_the_official_one() -> None:
    text = override_text(compose_services(files_of("1.16.1"), PROFILES), Override())
    assert "ports: !override" in text
    assert overridden()["plugin_daemon"]["ports"][0].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("published", "wanted"),
    [
        ("19530:19530", "127.0.0.1:19530:19530"),
        ("${OCEANBASE_VECTOR_PORT:-2881}:2881", "127.0.0.1:${OCEANBASE_VECTOR_PORT:-2881}:2881"),
        ("8123", "127.0.0.1:8123:8123"),
        ("0.0.0.0:5434:5432/tcp", "127.0.0.1:5434:5432/tcp"),
        ("[::]:1:2", "127.0.0.1:1:2"),
        ({"target": 80, "published": "8081"}, "127.0.0.1:8081:80"),
    ],
)
def test_no_store_is_published_to_the_network(published: str | dict[str, object], wanted: str) -> None:
    files = {COMPOSE: yaml.dump({"services": {"store": {"image": "x", "ports": [published]}}}).encode()}
    text = override_text(compose_services(files, ()), Override())
    assert yaml.load(text, _Loader)["services"]["store"]["ports"] == [wanted]


def test_what_is_on_this_host_only_and_the_proxy_stay_as_they_are() -> None:
    services = {"store": {"image": "x", "ports": ["127.0.0.1:1:2"]}, "nginx": {"image": "x", "ports": ["80:80"]}}
    found = yaml.load(
        override_text(compose_services({COMPOSE: yaml.dump({"services": services}).encode()}, ()), Override()), _Loader
    )
    assert [service for service in found["services"].values() if "ports" in service] == []


def test_the_web_service_listens_where_its_health_check_asks() -> None:
    web = overridden()["web"]
    assert web["environment"] == {"HOSTNAME": "0.0.0.0"}
    assert "127.0.0.1:3000" in web["healthcheck"]["test"][1]


@pytest.mark.parametrize(
    ("release", "wanted"), [("1.12.1", "2.24.4"), ("1.16.1", "2.24.4"), ("1.17.0", "2.35.0"), ("2.0.0", "2.35.0")]
)
def test_the_compose_that_a_release_needs(release: str, wanted: str) -> None:
    assert needs_compose(release) == wanted


@pytest.mark.parametrize("password", ["p@ss/word", "a:b#c?d", "%41", "ä ö"])
def test_a_password_comes_out_of_the_address_of_redis_as_it_went_in(password: str) -> None:
    parts = urlsplit(redis_url(password, 2, user="me@x"))
    assert unquote(parts.password or "") == password
    assert (parts.hostname, parts.port, parts.path, unquote(parts.username or "")) == ("redis", 6379, "/2", "me@x")


@pytest.mark.parametrize(
    ("name", "value", "good"),
    [
        ("REDIS_PASSWORD", 'it\'s $5 "quoted" \\ #', True),
        ("SECRET_KEY", "ä{}$(x)`y`", True),
        ("SECRET_KEY", "two\nlines", False),
        ("INIT_PASSWORD", "x" * 31, False),
        ("DB_PASSWORD", "it's$5\"#", True),
        ("DB_PASSWORD", "two words", False),
        ("DB_PASSWORD", "'quoted", False),
        ("DB_PASSWORD", "back\\slash", False),
        ("WEAVIATE_API_KEY", "a,b", False),
        ("PLUGIN_DAEMON_KEY", "a b", False),
        ("QDRANT_API_KEY", "a+b/c=", True),
    ],
)
def test_what_a_secret_may_be_made_of_follows_from_where_it_goes(name: str, value: str, good: bool) -> None:
    assert (wrong_secret(name, value) is None) is good


def test_redis_gets_its_password_over_standard_input() -> None:
    redis = overridden()["redis"]
    words = " ".join(redis["command"])
    assert "$$REDIS_PASSWORD" in words
    assert "--requirepass" not in words
    assert "maxmemory-policy volatile-lru" in words
    assert "-a " not in " ".join(redis["healthcheck"]["test"])


def test_images_limits_and_the_release_are_those_declared() -> None:
    found = overridden(images={"api": "m:5000/x@sha256:1"}, limits={"api": {"cpus": "2.0"}}, released="1.16.1 abc")
    assert found["api"]["image"] == "m:5000/x@sha256:1"
    assert found["api"]["deploy"]["resources"]["limits"] == {"memory": MEMORY["api"], "cpus": "2.0"}
    assert "image" not in found["web"]
    assert {service["labels"]["steelyard.release"] for service in found.values()} == {"1.16.1 abc"}


def template() -> dict[str, str]:
    text = files_of("1.16.1")[TEMPLATE].decode()
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))  # type: ignore[misc]


def test_every_well_known_secret_of_the_template_is_replaced_and_twins_are_equal() -> None:
    made = new_secrets()
    values = secret_values(made, template())
    known = [
        key
        for key, value in template().items()
        if any(word in value for word in ("well-known", "difyai", "dify-sandbox", "for-dev"))
    ]
    assert [key for key in known if key not in values and key != "CELERY_BROKER_URL"] == []
    assert values["SANDBOX_API_KEY"] == values["CODE_EXECUTION_API_KEY"]
    assert len(values["INIT_PASSWORD"]) <= 30
    assert made["REDIS_PASSWORD"].isalnum()
    assert new_secrets()["DB_PASSWORD"] != made["DB_PASSWORD"]


def test_a_release_without_a_key_needs_no_secret_for_it() -> None:
    assert "DIFY_AGENT_API_TOKEN" not in needed_secrets({"DB_PASSWORD": ""})
    assert set(needed_secrets(template())) == set(SECRETS)


@pytest.mark.parametrize("store", sorted(STORES))
def test_a_vector_store_that_runs_has_its_own_secret_in_the_keys_of_both_sides(store: str) -> None:
    made, names = new_secrets((store,)), set(STORES[store])
    assert names <= set(needed_secrets(template(), (store, "postgresql")))
    assert not names & set(needed_secrets(template(), PROFILES))
    values = secret_values(made, template(), (store,))
    keys = {key for several in STORES[store].values() for key in several}
    assert keys <= values.keys()
    live = {**template(), **values, "COMPOSE_PROFILES": f"{store},postgresql", "DEBUG": "false"}
    assert not keys & set(unsafe_keys(live, template()))
    assert keys <= set(unsafe_keys({**live, **dict.fromkeys(keys, "difyai123456")}, template()))
    assert keys <= set(unsafe_keys({key: live[key] for key in live.keys() - keys}, template()))
    assert [wrong_secret(name, made[name]) for name in names] == [None] * len(names)


@pytest.mark.parametrize("store", sorted(FIXED))
def test_a_store_whose_password_no_key_changes_is_named(store: str) -> None:
    assert FIXED[store] in unsafe_keys({"COMPOSE_PROFILES": store}, template())
    assert FIXED[store] not in unsafe_keys({"COMPOSE_PROFILES": "weaviate"}, template())


def test_nothing_calls_home() -> None:
    assert QUIET["DISABLE_TELEMETRY"] == "true"
    assert QUIET["CHECK_UPDATE_URL"] == ""
    assert QUIET["MARKETPLACE_ENABLED"] == "false"


@pytest.mark.parametrize(("cores", "gib", "wanted"), [(2, 4, 1), (8, 32, 4), (64, 16, 4), (64, 512, 8), (1, 1, 1)])
def test_workers_are_counted_by_cores_and_memory(cores: int, gib: int, wanted: int) -> None:
    assert workers(cores, gib * 2**30) == wanted


def test_the_archive_is_read_by_its_hash_and_only_its_docker_folder(tmp_path: Path) -> None:
    path = tmp_path / "dify.tar.gz"
    sha256 = write_archive("1.16.1", path)
    found = release_files(str(path), sha256)
    assert {COMPOSE, TEMPLATE, "nginx/nginx.conf.template"} <= found.keys()
    with pytest.raises(DifyArchiveWrong, match="another hash"):
        release_files(str(path), "0" * 64)
    with pytest.raises(DifyArchiveWrong, match="cannot be had"):
        release_files(str(tmp_path / "nothing"), sha256)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    import hashlib
    import tarfile

    path = tmp_path / "other.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(__file__, "other-1.0/docker/test.py")
    with pytest.raises(DifyArchiveWrong, match="it is not Dify's source archive"):
        release_files(str(path), hashlib.sha256(path.read_bytes()).hexdigest())
