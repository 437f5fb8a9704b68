"""Which images of two releases may follow one another on the volume that is there, told from both Compose files."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from steelyard_host.dify import ladder, stores
from steelyard_host.dify.stack import DifyError, Stack
from steelyard_host.dify.stores import StoreImage, VectorStep
from steelyard_host.wire.dify import VectorImage, VectorImages


def image(service: str, reference: str, tag: str | None = None) -> dict[str, StoreImage]:
    return {service: StoreImage(service, reference, stores._tag(reference) if tag is None else tag)}


READ = [
    ("db_postgres", "postgres:15-alpine", "postgres:15.4-alpine3.20"),
    ("redis", "redis:6-alpine", "redis:7-alpine"),
    ("weaviate", "semitechnologies/weaviate:1.27.0", "cr.weaviate.io/semitechnologies/weaviate:1.28.16"),
    ("weaviate", "semitechnologies/weaviate:1.27.0", "semitechnologies/weaviate:1.27.9"),
    ("qdrant", "langgenius/qdrant:v1.8.3", "langgenius/qdrant:v1.9.0"),
    ("pgvector", "pgvector/pgvector:pg16", "pgvector/pgvector:0.8.0-pg16"),
    ("chroma", "ghcr.io/chroma-core/chroma:0.5.20", "ghcr.io/chroma-core/chroma:0.5.23"),
    ("milvus-standalone", "milvusdb/milvus:v2.5.15", "milvusdb/milvus:v2.6.3"),
    ("opensearch", "opensearchproject/opensearch:latest", "opensearchproject/opensearch:latest"),
    ("db_postgres", "mirror:5000/library/postgres@sha256:1", "mirror:5000/library/postgres@sha256:1"),
]
UNREAD = [
    ("db_postgres", "postgres:15-alpine", "postgres:16-alpine", "the data folder of another major release"),
    ("db_postgres", "postgres:15-alpine", "postgres:18", "the data folder of another major release"),
    ("pgvector", "pgvector/pgvector:pg16", "pgvector/pgvector:pg17", "the data folder of another major release"),
    ("pgvecto-rs", "tensorchord/pgvecto-rs:pg16-v0.3.0", "tensorchord/pgvecto-rs:pg16-v0.4.0", "nothing says"),
    ("db_postgres", "postgres:16-alpine", "postgres:15-alpine", "an older release does not read"),
    ("redis", "redis:7-alpine", "redis:6-alpine", "an older release does not read"),
    ("qdrant", "langgenius/qdrant:v1.8.3", "qdrant/qdrant:v1.12.0", "every minor release in between"),
    ("etcd", "quay.io/coreos/etcd:v3.4.1", "quay.io/coreos/etcd:v3.6.0", "every minor release in between"),
    ("chroma", "ghcr.io/chroma-core/chroma:0.5.20", "ghcr.io/chroma-core/chroma:1.0.0", "nothing says"),
    ("chroma", "ghcr.io/chroma-core/chroma:0.5.20", "ghcr.io/chroma-core/chroma:0.6.1", "nothing says"),
    ("elasticsearch", "elastic/elasticsearch:8.14.3", "elastic/elasticsearch:9.0.0", "nothing says"),
    ("db_mysql", "mysql:8.0", "mysql:9.1", "nothing says"),
    ("iris", "intersystems/iris-community:2025.3", "intersystems/iris-community:2026.1", "nothing says"),
    ("opensearch", "opensearchproject/opensearch:latest", "opensearchproject/opensearch:2.19", "do not tell"),
    ("opensearch", "o/opensearch:latest@sha256:1", "o/opensearch:latest@sha256:2", "do not tell"),
    ("db_postgres", "postgres:15-alpine", "mariadb:15", "another program"),
    ("redis", "redis:6-alpine", "valkey/valkey:8", "another program"),
]


@pytest.mark.parametrize(("service", "old", "new"), READ)
def test_an_image_that_reads_the_volume_is_let_pass(service: str, old: str, new: str) -> None:
    assert stores.way(image(service, old), image(service, new), []) == []


@pytest.mark.parametrize(("service", "old", "new", "why"), UNREAD)
def test_an_image_that_may_not_read_the_volume_is_refused_with_both_names_and_the_way_out(
    service: str, old: str, new: str, why: str
) -> None:
    with pytest.raises(DifyError) as refused:
        stores.way(image(service, old), image(service, new), [])
    said = str(refused.value)
    assert why in said
    assert f"{service} would go from {old} to {new} on the volume it has" in said
    assert f"`dify.images: {{{service}: {old}}}`" in said


def test_an_image_by_digest_has_its_release_from_the_official_file(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = {"volumes": [{"type": "bind", "source": "/opt/dify/volumes/x", "target": "/data"}]}

    def compose(self: Stack, *argv: str) -> SimpleNamespace:
        official = argv[:2] == ("--file", "docker-compose.yaml")
        name = "postgres:15-alpine" if official else "mirror:5000/library/postgres@sha256:" + "1" * 64
        services = {
            "db_postgres": {"image": name, **mount},
            "api": {"image": "langgenius/dify-api:1.16.1", **mount},
            "nginx": {"image": "nginx:latest", **mount},
            "sandbox": {"image": "langgenius/dify-sandbox:0.2.15", **mount},
            "web": {"image": "langgenius/dify-web:1.16.1"},
        }
        return SimpleNamespace(stdout=json.dumps({"services": services}))

    monkeypatch.setattr(Stack, "compose", compose)
    found = stores.images(Stack({"folder": "/opt/dify", "project": "dify"}))
    assert {name: (store.name, store.tag) for name, store in found.items()} == {
        "db_postgres": ("postgres", "15-alpine")
    }


def test_a_store_that_the_staged_release_does_not_run_is_refused() -> None:
    with pytest.raises(DifyError, match=r"weaviate keeps data in .*and the staged release runs no such service"):
        stores.way(image("weaviate", "semitechnologies/weaviate:1.27.0"), image("qdrant", "qdrant/qdrant:v1.8.3"), [])


# Weaviate

OLD, NEW = image("weaviate", "semitechnologies/weaviate:1.27.0"), image("weaviate", "semitechnologies/weaviate:1.30.2")
STEPS = [VectorStep(version, "x:" + version) for version in ("1.29.3", "1.28.16", "1.27.9", "1.31.0")]


def test_the_steps_are_taken_in_their_order_and_those_that_are_not_on_the_way_are_not() -> None:
    assert [step.version for step in stores.way(OLD, NEW, STEPS)] == ["1.28.16", "1.29.3"]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("semitechnologies/weaviate:1.27.0", "semitechnologies/weaviate:1.39.2", "name an image for 1.30, 1.32, 1.33"),
        ("semitechnologies/weaviate:1.30.2", "semitechnologies/weaviate:1.27.0", "an older release does not read"),
        ("semitechnologies/weaviate:1.39.2", "semitechnologies/weaviate:2.0.1", "no way from one major release"),
    ],
)
def test_a_way_that_is_not_known_is_refused_with_both_images(old: str, new: str, why: str) -> None:
    with pytest.raises(DifyError) as refused:
        stores.way(image("weaviate", old), image("weaviate", new), STEPS)
    assert f"Weaviate would go from {old} to {new} on the volume it has; " in str(refused.value)
    assert why in str(refused.value)


def test_the_declared_steps_are_read_from_beside_the_staged_release(tmp_path: Path) -> None:
    assert ladder.declared_steps(tmp_path) == []
    images = VectorImages((VectorImage("1.28.16", "mirror:5000/w@sha256:1"),))
    (tmp_path / ladder.STEPS).write_text(json.dumps({"images": [image._asdict() for image in images.images]}))
    assert ladder.declared_steps(tmp_path) == [VectorStep("1.28.16", "mirror:5000/w@sha256:1")]
    for wrong in ("[]", "{", '{"images": [{"version": "1.28"}]}'):
        (tmp_path / ladder.STEPS).write_text(wrong)
        with pytest.raises(DifyError, match=r"cannot be read: .*; stage the release again"):
            ladder.declared_steps(tmp_path)
