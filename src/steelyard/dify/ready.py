"""An alias is registered only after it answered as Dify will ask it: Dify itself validates, and an error there says
little.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from typing import Any

from steelyard.errors import EndpointNotReady

from .desired_state import DesiredModel

READY_S = 30.0  # a gateway looks at its services every few seconds
# speech has no probe: Dify validates it by asking for models' words that cost a real recording
PROBES: dict[str, tuple[str, dict[str, Any]]] = {
    "llm": ("/chat/completions", {"messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}),
    "completion": ("/completions", {"prompt": "ping", "max_tokens": 1}),
    "text-embedding": ("/embeddings", {"input": ["ping"]}),
    "rerank": ("/rerank", {"query": "ping", "documents": ["ping", "pong"]}),
    "tts": ("/audio/speech", {"input": "ping", "voice": "alloy"}),
}


def require_answer(model: DesiredModel, seconds: float = READY_S) -> None:
    """Return when every endpoint of it gives an answer; raises EndpointNotReady with the endpoint's last words."""
    for credential in model.credentials:
        _require(model, credential.fields, seconds)


def _require(model: DesiredModel, fields: dict[str, str], seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        why = _ask_once(model, fields)
        if not why:
            return
        if time.monotonic() > end or why.startswith(("401", "404")):
            raise EndpointNotReady(where="dify", alias=model.model, endpoint=fields["endpoint_url"], why=why)
        time.sleep(1)


def _ask_once(model: DesiredModel, fields: dict[str, str]) -> str:
    """Empty where it answered, else why not."""
    kind = "completion" if model.type == "llm" and fields.get("mode") == "completion" else model.type
    if kind not in PROBES:
        return ""
    endpoint = urllib.parse.urlsplit(fields["endpoint_url"])
    path, body = PROBES[kind]
    maker = http.client.HTTPSConnection if endpoint.scheme == "https" else http.client.HTTPConnection
    connection = maker(endpoint.hostname or "", endpoint.port, timeout=60)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {fields.get('api_key', '')}"}
    try:
        text = json.dumps({"model": fields.get("endpoint_model_name") or model.model, **body})
        connection.request("POST", endpoint.path.rstrip("/") + path, text, headers)
        answer = connection.getresponse()
        content = answer.read(500).decode(errors="replace")
        return "" if answer.status == 200 else f"{answer.status} {answer.reason}: {' '.join(content.split())[:200]}"
    except (OSError, http.client.HTTPException) as error:
        return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
    finally:
        connection.close()
