"""One thing in Dify that is not as declared, and the requests that mend it: pure values, carried out by `mend`."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from .client import DifyClient
from .ready import require_answer
from .wanted import BASE, WantedModel


@dataclass(frozen=True)
class IdOf:
    """Stands in a body for the id of a credential by its name: an id is known only after the credential was made."""

    credential: str


@dataclass(frozen=True)
class Call:
    """One request; bodies hold keys, so they are kept out of its text."""

    method: str
    path: str
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Difference:
    """`action` is create, update, switch, enable, disable, balance, default, remove or prune.

    `model` is whose credentials an IdOf means; `asks` are models that must give a token before anything is sent.
    """

    action: str
    subject: str
    declared: str
    live: str
    calls: tuple[Call, ...]
    provider: str
    model: tuple[str, str]
    asks: tuple[WantedModel, ...] = ()


def mend(client: DifyClient, difference: Difference) -> None:
    """Carry out one difference. Raises EndpointNotReady before anything was sent, and the client's errors."""
    for model in difference.asks:
        require_answer(model)
    ids: dict[str, str] | None = None
    for call in difference.calls:
        if ids is None and _names_ids(call.body):
            view = credentials_view(client, difference.provider, *difference.model)
            ids = {each["credential_name"]: each["credential_id"] for each in view["available_credentials"]}
        client.send(call.method, call.path, _filled(call.body, ids or {}))


def credentials_view(
    client: DifyClient, provider: str, model: str, model_type: str, credential_id: str | None = None
) -> dict[str, Any]:
    """What Dify tells of a model's credentials: those there are, the one in use or the one asked for with its values."""
    query = {"model": model, "model_type": model_type, "config_from": "custom-model"}
    if credential_id is not None:
        query["credential_id"] = credential_id
    found: dict[str, Any] = client.get(f"{BASE}/{provider}/models/credentials?" + urllib.parse.urlencode(query))
    return found


def _names_ids(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_names_ids(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return any(_names_ids(each) for each in value)
    return isinstance(value, IdOf)


def _filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, ids) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_filled(each, ids) for each in value]
    return ids[value.credential] if isinstance(value, IdOf) else value
