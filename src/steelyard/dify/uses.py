"""Users of a model in Dify: apps, their workflows, knowledge bases, defaults. Asked only when a model shall go.

Workflow graphs and retrieval settings name models in several ways; any object that names provider and model counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from steelyard.errors import DifyRefused

from .check_names import is_of_a_check
from .client import DifyClient

TYPES = ("llm", "text-embedding", "rerank", "speech2text", "tts")
# key of the provider, key of the model, as apps, workflow nodes and knowledge bases write them
PAIRS = (
    ("provider", "name"),
    ("provider", "model"),
    ("reranking_provider_name", "reranking_model_name"),
    ("embedding_provider_name", "embedding_model_name"),
    ("embedding_model_provider", "embedding_model"),
)
WORKFLOWS = ("workflow", "advanced-chat")
PAGE = 100


@dataclass(frozen=True)
class Use:
    """One use of a model: the name of its provider as the user wrote it, and who uses it."""

    provider: str
    model: str
    type: str | None  # None: not told
    by: str


@dataclass(frozen=True)
class Uses:
    """Every use that was found."""

    all: tuple[Use, ...]

    def of(self, provider: str, model: str, model_type: str) -> list[str]:
        """Users of a model, sorted. A provider may be written short; rather one user too many."""
        short = provider.rsplit("/", 1)[-1]
        return sorted(
            {
                use.by
                for use in self.all
                if use.model == model and use.provider.rsplit("/", 1)[-1] == short and use.type in (None, model_type)
            }
        )


def read_uses(client: DifyClient) -> Uses:
    """Reads only; one request per app. Raises the client's errors."""
    uses = []
    for app in _pages(client, "/apps"):
        by = f"app `{app['name']}`"
        for document in _documents(client, app):
            uses += [Use(provider, model, None, by) for provider, model in named_models(document)]
    for dataset in _pages(client, "/datasets"):
        uses += [
            Use(provider, model, None, f"knowledge `{dataset['name']}`") for provider, model in named_models(dataset)
        ]
    for model_type in TYPES:
        default = default_of(client, model_type)
        if default is not None:
            uses.append(Use(*default, model_type, f"default {model_type}"))
    return Uses(tuple(uses))


def default_of(client: DifyClient, model_type: str) -> tuple[str, str] | None:
    """Provider and model that the workspace takes where an app names none; None where there is none."""
    default = client.get(f"/workspaces/current/default-model?model_type={model_type}")["data"]
    return (default["provider"]["provider"], default["model"]) if default is not None else None


def _documents(client: DifyClient, app: dict[str, Any]) -> list[Any]:
    """The documents that an app is made of: its settings, or its workflow as drafted and as published."""
    if app.get("mode") not in WORKFLOWS:
        return [client.get(f"/apps/{app['id']}").get("model_config")]
    documents = []
    for state in ("draft", "publish"):
        try:
            documents.append(client.get(f"/apps/{app['id']}/workflows/{state}"))
        except DifyRefused as refused:  # an app without one
            if refused.status != "404":
                raise
    return documents


def _pages(client: DifyClient, path: str) -> Iterator[dict[str, Any]]:
    page, more = 1, True
    while more:
        answer = client.get(f"{path}?page={page}&limit={PAGE}")
        yield from (entry for entry in answer["data"] if not is_of_a_check(str(entry.get("name"))))
        page, more = page + 1, bool(answer.get("has_more"))


def named_models(document: Any) -> Iterator[tuple[str, str]]:
    """(provider, model) of every object in a document that names both."""
    if isinstance(document, dict):
        for provider, model in PAIRS:
            if isinstance(document.get(provider), str) and isinstance(document.get(model), str):
                yield document[provider], document[model]
        for value in document.values():
            yield from named_models(value)
    elif isinstance(document, list):
        for value in document:
            yield from named_models(value)
