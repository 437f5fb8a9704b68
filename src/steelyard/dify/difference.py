"""One thing in Dify that is not as declared, and the requests that mend it: pure values, carried out by `mend`."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from steelyard.errors import SteelyardError

from .client import DifyClient
from .console import CredentialsView
from .desired_state import BASE, DesiredModel
from .ready import require_answer


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
class ModelDifference:
    """`action` is create, update, switch, enable, disable, balance, default, remove or prune.

    `model` is whose credentials an IdOf means; `asks` are models that must give a token before anything is sent.
    `blocked` is why it is not mended, and `comes_last` tells that it needs what others of the same look make.
    """

    action: str
    subject: str
    declared: str
    live: str
    calls: tuple[Call, ...]
    provider: str
    model: tuple[str, str]
    asks: tuple[DesiredModel, ...] = ()
    blocked: SteelyardError | None = None
    comes_last: bool = False

    @property
    def is_removal(self) -> bool:
        """Whether the model, or one of its credentials, is gone afterwards."""
        return self.action in ("remove", "prune")


def mend(client: DifyClient, difference: ModelDifference) -> None:
    """Carry out one difference. Raises what blocks it, or EndpointNotReady, before anything was sent, and the client's
    errors.
    """
    if difference.blocked is not None:
        raise difference.blocked
    for model in difference.asks:
        require_answer(model)
    ids: dict[str, str] | None = None
    for call in difference.calls:
        if ids is None and _names_ids(call.body):
            view = credentials_view(client, difference.provider, *difference.model)
            ids = {entry["credential_name"]: entry["credential_id"] for entry in view["available_credentials"]}
        client.send(call.method, call.path, _filled(call.body, ids or {}))


def credentials_view(
    client: DifyClient, provider: str, model: str, model_type: str, credential_id: str | None = None
) -> CredentialsView:
    """Credentials of a model as Dify tells them: those there are, and the values of the one in use or asked for."""
    query = {"model": model, "model_type": model_type, "config_from": "custom-model"}
    if credential_id is not None:
        query["credential_id"] = credential_id
    view: CredentialsView = client.get(f"{BASE}/{provider}/models/credentials?" + urllib.parse.urlencode(query))
    return view


def _names_ids(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_names_ids(entry) for entry in value.values())
    if isinstance(value, (list, tuple)):
        return any(_names_ids(entry) for entry in value)
    return isinstance(value, IdOf)


def _filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(entry, ids) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_filled(entry, ids) for entry in value]
    return ids[value.credential] if isinstance(value, IdOf) else value
