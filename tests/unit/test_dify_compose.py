"""The override beside the official compose file, our keys of `.env`, and the release's archive: pure values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from steelyard.dify.compose import MEMORY, Override, compose_services, override_text
from steelyard.dify.environment import QUIET, SECRETS, needed_secrets, new_secrets, secret_values, workers
from steelyard.dify.source import COMPOSE, TEMPLATE, release_files
from steelyard.errors import DifyArchiveWrong
from steelyard.lab.dify_stack.archive import files_of, write_archive
from steelyard_host.dify import env_file

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


def test_redis_gets_its_password_over_standard_input() -> None:
    redis = overridden()["redis"]
    words = " ".join(redis["command"])
    assert "requirepass $$REDIS_PASSWORD" in words
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


def test_what_is_made_anew_is_what_the_host_looks_for() -> None:
    assert {key for keys in SECRETS.values() for key in keys} == set(env_file.SECRETS)


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
