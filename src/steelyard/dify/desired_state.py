"""The desired state of Dify: models with our credentials, which of them are defaults, and what may go."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

BASE = "/workspaces/current/model-providers"
MODEL_TYPES = ("llm", "text-embedding", "rerank", "speech2text", "tts")


@dataclass(frozen=True)
class Credential:
    """A named set of values of the provider's form; they hold keys, so they are kept out of its text."""

    name: str
    fields: dict[str, str] = field(repr=False)


@dataclass(frozen=True)
class DesiredModel:
    """One model: its credential in use, further ones that share its requests, and its standing in the workspace."""

    model: str
    type: str
    credential: str
    fields: dict[str, str] = field(repr=False)
    further: tuple[Credential, ...] = ()
    enabled: bool = True
    default: bool = False
    written: Callable[[str], str] = field(
        default=lambda _: "models.yml", repr=False, compare=False
    )  # field -> FILE:LINE

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """The one in use first."""
        return (Credential(self.credential, self.fields), *self.further)

    @property
    def named(self) -> dict[str, str]:
        """The name of the model as the API wants it in a body or a query."""
        return {"model": self.model, "model_type": self.type}


@dataclass(frozen=True)
class DesiredState:
    """The desired state of one provider.

    `known_marks` are the marks of the secrets that were last set, from the host; None: not asked. They are made with
    `mark_key`; those of before the host kept a key of their own with `older_mark_key`, the login's secret.

    `owner` is the name of the credentials that are ours: models that have one and are not declared any more are
    removed.
    """

    provider: str
    owner: str
    models: tuple[DesiredModel, ...] = ()
    prune: bool = False
    remove_used: bool = False
    known_marks: dict[str, str] | None = field(default=None, repr=False)
    mark_key: str = field(default="", repr=False)
    older_mark_key: str | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        """The path of the provider's models in the API."""
        return f"{BASE}/{self.provider}/models"

    def marks(self) -> dict[str, str]:
        """The marks to keep once everything is as declared."""
        pairs = ((model, credential) for model in self.models for credential in model.credentials)
        return {
            mark_name(model, credential): secret_mark(self.mark_key, credential.fields) for model, credential in pairs
        }


def mark_name(model: DesiredModel, credential: Credential) -> str:
    """The name under which the host keeps a credential's mark."""
    return f"{model.type}/{model.model}/{credential.name}"


def secret_mark(key: str, fields: Mapping[str, str]) -> str:
    """A keyed hash of the values last set: Dify shows secrets masked, and this says whether it was given the declared
    ones.
    """
    text = json.dumps(dict(sorted(fields.items())), separators=(",", ":"))
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
