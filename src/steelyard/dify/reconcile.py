"""Compares declared models with what Dify has, and mends it. Credentials are found by their name, which is ours.

Only declared fields are compared: Dify stores defaults for others. The key comes back masked (first six, stars, last
two), so it is compared by its mask. Models of a human's making are never touched.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from steelyard.errors import DifyPluginMissing, EndpointNotReady

from .client import DifyClient

BASE = "/workspaces/current/model-providers"
READY_S = 30.0  # a gateway looks at its services every few seconds
PROBES: dict[str, tuple[str, dict[str, Any]]] = {
    "llm": ("/chat/completions", {"messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}),
    "text-embedding": ("/embeddings", {"input": ["ping"]}),
    "rerank": ("/rerank", {"query": "ping", "documents": ["ping", "pong"]}),
}


@dataclass(frozen=True)
class WantedModel:
    """One model as it shall be registered; `fields` hold the key too, so they are kept out of its text."""

    model: str
    type: str
    credential: str
    fields: dict[str, str] = field(repr=False)


@dataclass(frozen=True)
class Difference:
    """What to do about one model. `action` is create, update, switch or enable."""

    action: str
    wanted: WantedModel
    declared: str
    live: str
    credential_id: str | None = None


def masked(secret: str) -> str:
    """As Dify shows a stored secret."""
    return secret[:6] + "*" * 12 + secret[-2:] if len(secret) > 8 else "*" * 20


def differing_fields(wanted: dict[str, str], live: dict[str, Any], secrets: frozenset[str]) -> list[str]:
    """Names of declared fields that Dify holds otherwise, sorted."""
    return sorted(name for name, value in wanted.items() if live.get(name) != (masked(value) if name in secrets else value))


def differences(client: DifyClient, provider: str, models: tuple[WantedModel, ...]) -> list[Difference]:
    """What must be mended, reads only. Raises DifyPluginMissing and the client's errors."""
    if not models:
        return []
    secrets = _secret_fields(client, provider)
    status = {(entry["model"], entry["model_type"]): entry["status"] for entry in client.models(provider)}
    found: list[Difference] = []
    for wanted in models:
        found += _of_model(client, provider, wanted, status.get((wanted.model, wanted.type)), secrets)
    return found


def _secret_fields(client: DifyClient, provider: str) -> frozenset[str]:
    for entry in client.get(BASE)["data"]:
        if entry["provider"] == provider:
            forms = (entry.get("model_credential_schema") or {}).get("credential_form_schemas") or []
            return frozenset(form["variable"] for form in forms if form["type"] == "secret-input")
    raise DifyPluginMissing(where=client.where, provider=provider)


def _of_model(
    client: DifyClient, provider: str, wanted: WantedModel, status: str | None, secrets: frozenset[str]
) -> list[Difference]:
    query = {"model": wanted.model, "model_type": wanted.type, "config_from": "custom-model"}
    path = f"{BASE}/{provider}/models/credentials?"
    view = client.get(path + urllib.parse.urlencode(query))
    ours = next((c["credential_id"] for c in view["available_credentials"] if c["credential_name"] == wanted.credential), None)
    if ours is None:
        return [Difference("create", wanted, "registered", "not registered")]
    found = []
    if view["current_credential_id"] != ours:
        live = view["current_credential_name"] or "no credential"
        found.append(Difference("switch", wanted, f"uses {wanted.credential}", f"uses {live}", ours))
        view = client.get(path + urllib.parse.urlencode({**query, "credential_id": ours}))
    changed = differing_fields(wanted.fields, view["credentials"], secrets)
    if changed:
        shown = ", ".join(f"{name}={view['credentials'].get(name)!r}" for name in changed)
        declared = ", ".join(f"{name}={'set' if name in secrets else repr(wanted.fields[name])}" for name in changed)
        found.append(Difference("update", wanted, declared, shown, ours))
    if status == "disabled":
        found.append(Difference("enable", wanted, "enabled", "disabled"))
    return found


def mend(client: DifyClient, provider: str, difference: Difference) -> None:
    """Carry out one difference. Create and update are validated by Dify against the endpoint; so ask that first."""
    wanted = difference.wanted
    named: dict[str, Any] = {"model": wanted.model, "model_type": wanted.type}
    path = f"{BASE}/{provider}/models"
    if difference.action in ("create", "update"):
        require_answer(wanted)
    if difference.action == "create":
        client.send("POST", f"{path}/credentials", {**named, "name": wanted.credential, "credentials": wanted.fields})
    elif difference.action == "update":
        body = {**named, "credential_id": difference.credential_id, "name": wanted.credential}
        client.send("PUT", f"{path}/credentials", {**body, "credentials": wanted.fields})
    elif difference.action == "switch":
        client.send("POST", f"{path}/credentials/switch", {**named, "credential_id": difference.credential_id})
    else:
        client.send("PATCH", f"{path}/enable", named)


def require_answer(wanted: WantedModel, seconds: float = READY_S) -> None:
    """Return when the alias gives a token; raises EndpointNotReady with the endpoint's last words."""
    end, why = time.monotonic() + seconds, "not asked"
    while True:
        why = _ask_once(wanted)
        if not why:
            return
        if time.monotonic() > end or why.startswith(("401", "404")):
            raise EndpointNotReady(where="dify", alias=wanted.model, endpoint=wanted.fields["endpoint_url"], why=why)
        time.sleep(1)


def _ask_once(wanted: WantedModel) -> str:
    """Empty where it answered, else why not."""
    endpoint = urllib.parse.urlsplit(wanted.fields["endpoint_url"])
    path, body = PROBES[wanted.type]
    kind = http.client.HTTPSConnection if endpoint.scheme == "https" else http.client.HTTPConnection
    connection = kind(endpoint.hostname or "", endpoint.port, timeout=60)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {wanted.fields.get('api_key', '')}"}
    try:
        text = json.dumps({"model": wanted.fields.get("endpoint_model_name") or wanted.model, **body})
        connection.request("POST", endpoint.path.rstrip("/") + path, text, headers)
        answer = connection.getresponse()
        content = answer.read(500).decode(errors="replace")
        return "" if answer.status == 200 else f"{answer.status} {answer.reason}: {' '.join(content.split())[:200]}"
    except (OSError, http.client.HTTPException) as error:
        return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
    finally:
        connection.close()
