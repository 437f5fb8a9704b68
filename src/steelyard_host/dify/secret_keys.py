"""The keys of Dify's `.env` that hold secrets, and what every copy of a release has in them. Source: 1.12.1 to 1.16.1.

A secret has one name in `dify.secrets`, and the keys that must hold it: what a service is given, and what asks it.
"""

from __future__ import annotations

from collections.abc import Mapping

SECRETS: dict[str, tuple[str, ...]] = {
    "SECRET_KEY": ("SECRET_KEY",),
    "INIT_PASSWORD": ("INIT_PASSWORD",),
    "DB_PASSWORD": ("DB_PASSWORD",),
    "REDIS_PASSWORD": ("REDIS_PASSWORD",),
    "SANDBOX_API_KEY": ("SANDBOX_API_KEY", "CODE_EXECUTION_API_KEY"),
    "PLUGIN_DAEMON_KEY": ("PLUGIN_DAEMON_KEY",),
    "PLUGIN_DIFY_INNER_API_KEY": ("PLUGIN_DIFY_INNER_API_KEY", "INNER_API_KEY_FOR_PLUGIN"),
    "WEAVIATE_API_KEY": ("WEAVIATE_API_KEY", "WEAVIATE_AUTHENTICATION_APIKEY_ALLOWED_KEYS"),
    "DIFY_AGENT_API_TOKEN": ("DIFY_AGENT_API_TOKEN",),
    "DIFY_AGENT_SERVER_SECRET_KEY": ("DIFY_AGENT_SERVER_SECRET_KEY",),
    "DIFY_AGENT_AUTH_TOKEN": ("DIFY_AGENT_SHELLCTL_AUTH_TOKEN", "DIFY_AGENT_LOCAL_SANDBOX_AUTH_TOKEN"),
}
_PGVECTOR = ("PGVECTOR_POSTGRES_PASSWORD", "PGVECTOR_PASSWORD")
_OCEANBASE: dict[str, tuple[str, ...]] = {"OCEANBASE_VECTOR_PASSWORD": ("OCEANBASE_VECTOR_PASSWORD",)}
_ELASTICSEARCH: dict[str, tuple[str, ...]] = {"ELASTICSEARCH_PASSWORD": ("ELASTICSEARCH_PASSWORD",)}
# of the vector store that runs, by its Compose profile; weaviate's stand in every template
STORES: dict[str, dict[str, tuple[str, ...]]] = {
    "qdrant": {"QDRANT_API_KEY": ("QDRANT_API_KEY",)},
    "pgvector": {"PGVECTOR_PASSWORD": _PGVECTOR},
    "pgvecto-rs": {"PGVECTO_RS_PASSWORD": ("PGVECTOR_POSTGRES_PASSWORD", "PGVECTO_RS_PASSWORD")},
    "chroma": {"CHROMA_AUTH_CREDENTIALS": ("CHROMA_SERVER_AUTHN_CREDENTIALS", "CHROMA_AUTH_CREDENTIALS")},
    "oceanbase": _OCEANBASE,
    "seekdb": _OCEANBASE,
    "milvus": {"MINIO_SECRET_KEY": ("MINIO_SECRET_KEY",), "MINIO_ACCESS_KEY": ("MINIO_ACCESS_KEY",)},
    "opensearch": {"OPENSEARCH_PASSWORD": ("OPENSEARCH_INITIAL_ADMIN_PASSWORD", "OPENSEARCH_PASSWORD")},
    "opengauss": {"OPENGAUSS_PASSWORD": ("OPENGAUSS_PASSWORD",)},
    "elasticsearch": _ELASTICSEARCH,
    "elasticsearch-ja": _ELASTICSEARCH,
}
# stores whose password the release's own files fix, so that no key changes it; the key that clients are given it by
FIXED = {
    "couchbase": "COUCHBASE_PASSWORD",  # the health check has it
    "vastbase": "VASTBASE_PASSWORD",
    "oracle": "ORACLE_PASSWORD",
    "iris": "IRIS_PASSWORD",
    "myscale": "MYSCALE_PASSWORD",
    "matrixone": "MATRIXONE_PASSWORD",
}
WELL_KNOWN = frozenset(
    (
        "sk-9f73s3ljTXVcMT3Blb3ljTqtsKiGHXVcMT3BlbkFJLK7U",
        "difyai123456",
        "dify-sandbox",
        "minioadmin",
        "Qazwsxedc!@#123",
        "Dify@123",
        "elastic",
        "admin",
    )
)
FLAGS = {"WEAVIATE_AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true", "DEBUG": "true", "FLASK_DEBUG": "true"}


def unsafe_keys(live: Mapping[str, str], template: Mapping[str, str]) -> list[str]:
    """Keys whose text stands as every copy of the release has it, or worse; none of a file that is not there."""
    if not live:
        return []
    profiles = live.get("COMPOSE_PROFILES", "").split(",")
    of_stores = {key for store in profiles for keys in STORES.get(store, {}).values() for key in keys}
    known = {key for keys in SECRETS.values() for key in keys if key in template and live.get(key, "") == template[key]}
    known |= {key for keys in SECRETS.values() for key in keys if live.get(key) in WELL_KNOWN}
    known |= {key for key in of_stores if live.get(key, "") in WELL_KNOWN | {""}}
    known |= {FIXED[store] for store in profiles if store in FIXED}
    return sorted(known | {key for key, value in FLAGS.items() if live.get(key, "").lower() == value})
