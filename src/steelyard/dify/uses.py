"""Users of a model in Dify: apps, workflows, agents, snippets, knowledge bases, defaults. Asked when a model shall go.

Workflow graphs, retrieval settings and agents name models in many ways; any object with a provider and a model counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from steelyard.errors import DifyRefused

from .account import OWNER, role_of_login
from .check_names import is_of_a_check
from .client import DifyClient
from .desired_state import MODEL_TYPES
from .release import DifyVersion

WORKFLOWS = ("workflow", "advanced-chat")
PAGE = 100
READ_UP_TO = DifyVersion(1, 16, 1)  # the release in whose source the routes of agents and snippets were read
SECRET_KNOWLEDGE = "knowledge bases that other members keep to themselves"
ABSENT, FORBIDDEN = ("404",), ("403",)


@dataclass(frozen=True)
class Use:
    """One use of a model: the name of its provider as the user wrote it, and who uses it."""

    provider: str
    model: str
    type: str | None  # None: not told
    by: str


@dataclass(frozen=True)
class Uses:
    """Every use that was found; `unseen` is what could not be looked at, and `role` the login's, by which that is."""

    all: tuple[Use, ...]
    unseen: tuple[str, ...] = ()
    role: str = OWNER

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
    """Reads only; a few requests per app. Raises the client's errors."""
    return _Reader(client).uses()


class _Reader:
    """Walks through all that can name a model, and notes what it may not see."""

    def __init__(self, client: DifyClient) -> None:
        self.client = client
        self.unseen: list[str] = []

    def uses(self) -> Uses:
        role = role_of_login(self.client)
        uses = [use for by, document in self._documents() for use in _uses(by, document)]
        for model_type in MODEL_TYPES:
            default = default_of(self.client, model_type)
            if default is not None:
                uses.append(Use(*default, model_type, f"default {model_type}"))
        if role != OWNER:
            self.unseen.append(SECRET_KNOWLEDGE)  # `include_all` counts for an owner only
        return Uses(tuple(uses), tuple(self.unseen), role)

    def _documents(self) -> Iterator[tuple[str, Any]]:
        """(who, a document of theirs that may name models)."""
        for app in _pages(self.client, "/apps"):
            by = f"app `{app['name']}`"
            for document in self._of_app(app):
                yield by, document
        for dataset in _pages(self.client, "/datasets", "&include_all=true"):
            by = f"knowledge `{dataset['name']}`"
            yield by, dataset
            if dataset.get("pipeline_id"):
                for document in self._workflows(f"/rag/pipelines/{dataset['pipeline_id']}", by):
                    yield by, document
        for snippet in self._maybe_pages("/workspaces/current/customized-snippets", "snippets"):
            by = f"snippet `{snippet['name']}`"
            for document in self._workflows(f"/snippets/{snippet['id']}", by):
                yield by, document
        for agent in self._maybe_pages("/agent", "agents"):
            by = f"agent `{agent['name']}`"
            yield by, agent
            yield by, self._maybe(f"/agent/{agent['id']}/composer", by)

    def _of_app(self, app: dict[str, Any]) -> Iterator[Any]:
        """The documents that an app is made of: its settings, or its workflow as drafted and as published."""
        path, by = f"/apps/{app['id']}", f"app `{app['name']}`"
        if app.get("mode") in WORKFLOWS:
            yield from self._workflows(path, by)
        else:
            yield self.client.get(path).get("model_config")
        if app.get("mode") != "workflow":  # the settings of a chat app tell it too, those of the others do not
            yield self._maybe(f"{path}/annotation-setting", by)

    def _workflows(self, path: str, by: str) -> Iterator[Any]:
        for state in ("draft", "publish"):
            yield self._maybe(f"{path}/workflows/{state}", by)

    def _maybe(self, path: str, by: str) -> Any:
        """The answer; None where there is none. What the login may not see is noted."""
        try:
            return self.client.get(path)
        except DifyRefused as refused:
            if refused.status in FORBIDDEN:
                self._note(by)
            elif refused.status not in ABSENT:
                raise
            return None

    def _maybe_pages(self, path: str, what: str) -> Iterator[dict[str, Any]]:
        """As `_pages`; nothing where the release does not know such things yet."""
        try:
            yield from _pages(self.client, path)
        except DifyRefused as refused:
            if refused.status not in (*ABSENT, *FORBIDDEN):
                raise
            # a newer release may have moved them: nobody has looked there
            if refused.status in FORBIDDEN or self.client.release() > READ_UP_TO:
                self._note(what)

    def _note(self, what: str) -> None:
        if what not in self.unseen:
            self.unseen.append(what)


def _uses(by: str, document: Any) -> Iterator[Use]:
    for provider, model in named_models(document):
        yield Use(provider, model, None, by)


def default_of(client: DifyClient, model_type: str) -> tuple[str, str] | None:
    """Provider and model that the workspace takes where an app names none; None where there is none."""
    default = client.get(f"/workspaces/current/default-model?model_type={model_type}")["data"]
    return (default["provider"]["provider"], default["model"]) if default is not None else None


def knowledge_embedded_by(client: DifyClient, provider: str, model: str) -> list[str]:
    """Names of the knowledge bases whose vectors come from a model, as far as the login may see them."""
    short = provider.rsplit("/", 1)[-1]
    return sorted(
        str(dataset["name"])
        for dataset in _pages(client, "/datasets", "&include_all=true")
        if dataset.get("embedding_model") == model
        and str(dataset.get("embedding_model_provider")).rsplit("/", 1)[-1] == short
    )


def _pages(client: DifyClient, path: str, more_query: str = "") -> Iterator[dict[str, Any]]:
    page, more = 1, True
    while more:
        answer = client.get(f"{path}?page={page}&limit={PAGE}{more_query}")
        yield from (entry for entry in answer["data"] if not is_of_a_check(str(entry.get("name"))))
        page, more = page + 1, bool(answer.get("has_more")) and bool(answer["data"])


def named_models(document: Any) -> Iterator[tuple[str, str]]:
    """(provider, model) of every object in a document that names both, by whatever keys."""
    if isinstance(document, dict):
        texts = {name: value for name, value in document.items() if isinstance(value, str) and value}
        providers = {value for name, value in texts.items() if "provider" in name}
        models = {
            value for name, value in texts.items() if name == "name" or ("model" in name and "provider" not in name)
        }
        yield from ((provider, model) for provider in sorted(providers) for model in sorted(models))
        for value in document.values():
            yield from named_models(value)
    elif isinstance(document, list):
        for value in document:
            yield from named_models(value)
