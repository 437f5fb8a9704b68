"""People's work in Dify's database: rows of the tables that hold it, and the models that the console lists.

Counted before and after a migration: a release whose migration ends well and loses something is found by it.
"""

from __future__ import annotations

from typing import NamedTuple

from steelyard_host.dify import database
from steelyard_host.dify.stack import DifyError, Stack

KEPT = (
    "accounts",
    "tenants",
    "tenant_account_joins",
    "apps",
    "workflows",
    "api_tokens",
    "datasets",
    "documents",
    "document_segments",
)
# what releases before 1.14 store, and what the later ones look for
CANONICAL = {"text-generation": "llm", "embeddings": "text-embedding", "reranking": "rerank"}
TYPED = (
    "provider_models",
    "provider_model_credentials",
    "provider_model_settings",
    "load_balancing_model_configs",
    "tenant_default_models",
)
COLUMNS = (
    "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = current_schema()"
)


class Contents(NamedTuple):
    """Rows by table, the models as `WORKSPACE TYPE NAME`, and rows by table that still have a legacy type."""

    rows: dict[str, int]
    models: tuple[str, ...] = ()
    legacy: dict[str, int] = {}

    @property
    def shown(self) -> str:
        """The counts in words."""
        counted = ", ".join("%d %s" % (self.rows[name], name) for name in KEPT if name in self.rows)
        return "%d models%s" % (len(self.models), ", " + counted if counted else "")


def read(stack: Stack, name: str) -> Contents:
    """The contents of the database `name`. Raises DifyError."""
    columns = set(database.query(stack, name, COLUMNS))
    tables = {column.partition(".")[0] for column in columns}
    rows = _counts(stack, name, {table: "true" for table in KEPT if table in tables})
    typed = [table for table in TYPED if table + ".model_type" in columns]
    types = ", ".join("'%s'" % word for word in CANONICAL)
    legacy = _counts(stack, name, dict.fromkeys(typed, "model_type::text IN (%s)" % types))
    return Contents(rows, _models(stack, name, columns), {table: count for table, count in legacy.items() if count})


def _counts(stack: Stack, name: str, conditions: dict[str, str]) -> dict[str, int]:
    """Rows by table, under a condition each."""
    if not conditions:
        return {}
    asked = ("SELECT '%s ' || count(*) FROM %s WHERE %s" % (table, table, text) for table, text in conditions.items())
    lines = database.query(stack, name, " UNION ALL ".join(asked))
    return {line.split(" ")[0]: int(line.split(" ")[1]) for line in lines if line.count(" ") == 1}


def _models(stack: Stack, name: str, columns: set[str]) -> tuple[str, ...]:
    needed = {"provider_models." + column for column in ("tenant_id", "model_name", "model_type")}
    if not needed <= columns:
        return ()
    cases = " ".join("WHEN '%s' THEN '%s'" % pair for pair in CANONICAL.items())
    kind = "CASE model_type::text %s ELSE model_type::text END" % cases
    text = "SELECT DISTINCT tenant_id || ' ' || %s || ' ' || model_name FROM provider_models ORDER BY 1" % kind
    return tuple(database.query(stack, name, text))


def lost(before: Contents, after: Contents) -> str:
    """The first thing that was there before and is not any more, in words; empty where all is.

    A table that one of both releases does not have is not compared.
    """
    gone = [model for model in before.models if model not in after.models]
    if gone:
        _, kind, model = gone[0].split(" ", 2)
        more = ", and %d more" % (len(gone) - 1) if len(gone) > 1 else ""
        return "the database has no model %s (%s) any more%s" % (model, kind, more)
    for table, rows in before.rows.items():
        left = after.rows.get(table, rows)
        if left < rows:
            return "%d of %d rows of the table %s are left" % (left, rows, table)
    return ""


def require_same(before: Contents, after: Contents) -> None:
    """Refuses where something is lost. Raises DifyError."""
    why = lost(before, after)
    if why:
        raise DifyError("the new release lost something on its way: " + why)
