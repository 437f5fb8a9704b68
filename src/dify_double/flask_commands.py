"""The program `flask` of the API's image, as far as an upgrade asks it: its last migration, and legacy model types."""

from __future__ import annotations

import os
import sys

LEGACY = {"text-generation": "llm", "embeddings": "text-embedding", "reranking": "rerank"}
TABLES = ("provider_models", "provider_model_credentials", "provider_model_settings", "tenant_default_models")


def make_canonical() -> None:
    """Give legacy model types their new names, in the tables that are there."""
    from .postgres_state import connect

    with connect() as link, link.cursor() as cursor:
        for table in TABLES:
            cursor.execute("SELECT to_regclass(%s)", (table,))
            if cursor.fetchone()[0] is None:
                continue
            for old, new in LEGACY.items():
                cursor.execute("UPDATE %s SET model_type = %%s WHERE model_type = %%s" % table, (new, old))


def main() -> None:
    if sys.argv[1:] == ["db", "heads"]:
        print("%s (head)" % os.environ["DOUBLE_RELEASE"])
    elif sys.argv[1:] == ["data-migrate", "legacy-model-types", "--apply"]:
        make_canonical()
    else:
        sys.exit("Error: No such command '%s'." % (sys.argv[1:2] or [""])[0])


if __name__ == "__main__":
    main()
