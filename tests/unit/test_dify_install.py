"""What the role says of a release: images by digest, our keys of `.env`, services of your own, refusals before anything
is touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from steelyard.dify.environment import new_secrets
from steelyard.dify.image_name import image_name
from steelyard.errors import DifyImagesMissing, DifySecretsMissing, SettingWrong
from steelyard.lab.dify_stack.archive import write_archive
from steelyard.roles.dify.install import DesiredStack, environment, host_config, wanted_release
from steelyard.roles.dify.settings import Settings
from steelyard.roles.registry_mirror.settings import Settings as MirrorSettings
from steelyard.site.site import Site

SITE = Site("/models", {}, (), {}, {"m": "10.0.0.9"}, {"mirror": ("m",)})
MIRROR = MirrorSettings.model_validate({"registries": {"pushed": {"port": 5000}}})
DIGEST = "sha256:" + "a" * 64
IMAGES = (
    "langgenius/dify-api:1.16.1",
    "langgenius/dify-web:1.16.1",
    "langgenius/dify-plugin-daemon:0.6.3-local",
    "langgenius/dify-sandbox:0.2.15",
    "semitechnologies/weaviate:1.27.0",
    "library/postgres:15-alpine",
    "library/redis:6-alpine",
    "library/nginx:latest",
    "ubuntu/squid:latest",
    "library/busybox:latest",
)


def release(tmp_path: Path, names: tuple[str, ...] = IMAGES, **more: Any) -> DesiredStack:
    archive, listed = tmp_path / "dify.tar.gz", tmp_path / "images.yml"
    listed.write_text("".join(f"- docker.io/{name}@{DIGEST}\n" for name in names))
    declared = {
        "version": "1.16.1",
        "archive": str(archive),
        "sha256": write_archive("1.16.1", archive),
        "images": str(listed),
    }
    settings = Settings.model_validate({"release": declared, "secrets": new_secrets(("qdrant",)), **more})
    assert settings.release is not None
    return wanted_release(settings, settings.release, SITE, MIRROR)


def env(wanted: DesiredStack, balances: bool = False) -> dict[str, str]:
    return environment(wanted, 16, 64 * 2**30, balances)


def test_every_image_comes_by_digest_from_the_mirror(tmp_path: Path) -> None:
    text = release(tmp_path).override
    assert f"image: 10.0.0.9:5000/langgenius/dify-api@{DIGEST}" in text
    assert f"image: 10.0.0.9:5000/library/nginx@{DIGEST}" in text
    assert text.count("image: ") == len(release(tmp_path).running)


def test_an_image_that_the_list_does_not_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(DifyImagesMissing, match="busybox:latest"):
        release(tmp_path, IMAGES[:-1])


def test_secrets_that_are_missing_are_named_by_the_release_s_template(tmp_path: Path) -> None:
    with pytest.raises(DifySecretsMissing, match="DB_PASSWORD, REDIS_PASSWORD"):
        release(tmp_path, secrets={})


def test_sizes_addresses_and_limits_are_those_of_host_and_settings(tmp_path: Path) -> None:
    found = env(
        release(
            tmp_path, proxy={"upload_mib": 500, "timeout_s": 600}, ssrf_allow=["10.0.0.0/8"], env={"LOG_LEVEL": "DEBUG"}
        )
    )
    assert (found["SERVER_WORKER_AMOUNT"], found["CELERY_WORKER_AMOUNT"]) == ("8", "16")
    assert found["NGINX_CLIENT_MAX_BODY_SIZE"] == "500M"
    assert found["SSRF_PROXY_ALLOW_PRIVATE_IPS"] == "10.0.0.0/8"
    assert found["LOG_LEVEL"] == "DEBUG"
    assert found["COMPOSE_PROFILES"] == "weaviate,postgresql"
    assert found["CELERY_BROKER_URL"] == f"redis://:{found['REDIS_PASSWORD']}@redis:6379/1"
    assert found["MODEL_LB_ENABLED"] == "false"
    assert env(release(tmp_path), balances=True)["MODEL_LB_ENABLED"] == "true"


def test_a_postgresql_and_a_redis_of_your_own_replace_the_stack_s(tmp_path: Path) -> None:
    outside = {"host": "db.example", "port": 5433, "user": "dify"}
    wanted = release(tmp_path, postgres=outside, redis={"host": "r.example", "port": 6380, "user": "app", "tls": True})
    found = env(wanted)
    assert (found["DB_HOST"], found["DB_PORT"], found["DB_USERNAME"]) == ("db.example", "5433", "dify")
    assert found["COMPOSE_PROFILES"] == "weaviate"
    assert found["CELERY_BROKER_URL"] == f"rediss://app:{found['REDIS_PASSWORD']}@r.example:6380/1"
    assert '"user": "dify"' in host_config(wanted.settings)
    assert found["DB_PASSWORD"] not in host_config(wanted.settings)
    assert "db_postgres" in {service.name for service in wanted.running}, "its image has the programs for backups"


def test_a_certificate_turns_tls_on_and_another_one_makes_nginx_anew(tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_text("one")
    first = release(tmp_path, proxy={"certificate": str(chain), "key": "k"})
    assert env(first)["NGINX_HTTPS_ENABLED"] == "true"
    chain.write_text("two")
    assert release(tmp_path, proxy={"certificate": str(chain), "key": "k"}).override != first.override
    with pytest.raises(SettingWrong, match="certificate"):
        release(tmp_path, proxy={"certificate": str(tmp_path / "none.pem"), "key": "k"})


def test_a_service_that_the_release_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingWrong, match="apii"):
        release(tmp_path, resources={"apii": {"memory": "1g"}})
    assert "memory: 9g" in release(tmp_path, resources={"api": {"memory": "9g"}}).override


def test_a_password_of_redis_is_part_of_addresses_as_addresses_have_it(tmp_path: Path) -> None:
    secrets = {**new_secrets(), "REDIS_PASSWORD": "p@ss/w#rd $1"}
    found = env(release(tmp_path, secrets=secrets))
    assert found["REDIS_PASSWORD"] == "p@ss/w#rd $1"
    assert found["CELERY_BROKER_URL"] == "redis://:p%40ss%2Fw%23rd%20%241@redis:6379/1"
    assert found["DIFY_AGENT_REDIS_URL"] == "redis://:p%40ss%2Fw%23rd%20%241@redis:6379/2"


def test_editing_together_is_on_where_its_service_runs_and_off_else(tmp_path: Path) -> None:
    alone = release(tmp_path)
    assert env(alone)["ENABLE_COLLABORATION_MODE"] == "false"
    assert "api_websocket" not in {service.name for service in alone.running}
    chain = tmp_path / "chain.pem"
    chain.write_text("one")
    proxy = {"name": "dify.example", "certificate": str(chain), "key": "k", "tls_port": 8443}
    together = release(tmp_path, collaboration=True, proxy=proxy)
    assert env(together)["ENABLE_COLLABORATION_MODE"] == "true"
    assert env(together)["NEXT_PUBLIC_SOCKET_URL"] == "wss://dify.example:8443"
    assert env(together)["COMPOSE_PROFILES"] == "weaviate,postgresql,collaboration"
    assert "api_websocket" in {service.name for service in together.running}
    plain = release(tmp_path, collaboration=True, proxy={"name": "dify.example other.example"})
    assert env(plain)["NEXT_PUBLIC_SOCKET_URL"] == "ws://dify.example"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"collaboration": True}, r"dify\.proxy.*name"),
        ({"env": {"ENABLE_COLLABORATION_MODE": "true"}}, "ENABLE_COLLABORATION_MODE"),
        ({"env": {"COMPOSE_PROFILES": "weaviate,postgresql,collaboration"}}, r"dify\.proxy.*name"),
        ({"env": {"DB_TYPE": "mysql"}}, "DB_TYPE.*PostgreSQL's alone"),
    ],
)
def test_what_would_start_and_not_work_is_refused(tmp_path: Path, more: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingWrong, match=told):
        release(tmp_path, **more)


def test_another_vector_store_has_a_secret_of_its_own_and_is_named_without_it(tmp_path: Path) -> None:
    images = (*IMAGES, "langgenius/qdrant:v1.8.3")
    wanted = release(tmp_path, images, env={"VECTOR_STORE": "qdrant"})
    assert env(wanted)["QDRANT_API_KEY"] == wanted.settings.secrets["QDRANT_API_KEY"].get_secret_value()
    assert env(wanted)["COMPOSE_PROFILES"] == "qdrant,postgresql"
    with pytest.raises(DifySecretsMissing, match="QDRANT_API_KEY"):
        release(tmp_path, images, env={"VECTOR_STORE": "qdrant"}, secrets=new_secrets())


def test_an_image_with_a_registry_of_its_own_is_looked_for_under_it(tmp_path: Path) -> None:
    images = (*IMAGES[:4], *IMAGES[5:])
    chosen = {"env": {"VECTOR_STORE": "chroma"}, "secrets": new_secrets(("chroma",))}
    with pytest.raises(DifyImagesMissing, match=r"ghcr\.io/chroma-core/chroma:0\.5\.20"):
        release(tmp_path, images, **chosen)
    listed = tmp_path / "images.yml"
    listed.write_text(listed.read_text() + f"- ghcr.io/chroma-core/chroma:0.5.20@{DIGEST}\n")
    settings = release(tmp_path, (*images, "chroma-core/chroma:0.5.20"), **chosen)  # a registry with a copy will do
    assert f"10.0.0.9:5000/chroma-core/chroma@{DIGEST}" in settings.override


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("cr.weaviate.io/semitechnologies/weaviate:1.39.2", ("cr.weaviate.io", "semitechnologies/weaviate", "1.39.2")),
        ("quay.io/coreos/etcd:v3.5.5", ("quay.io", "coreos/etcd", "v3.5.5")),
        ("localhost:5000/x:1", ("localhost:5000", "x", "1")),
        ("postgres:15-alpine", ("docker.io", "library/postgres", "15-alpine")),
        ("certbot/certbot", ("docker.io", "certbot/certbot", "latest")),
        ("r.example/a/b/c@sha256:00", ("r.example", "a/b/c", "latest")),
    ],
)
def test_the_parts_of_an_image_s_name(image: str, wanted: tuple[str, str, str]) -> None:
    assert image_name(image) == wanted
