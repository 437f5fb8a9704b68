"""Calls a model's endpoint as Dify's plugins do when credentials are validated, so that a wrong one is refused."""

from __future__ import annotations

import http.client
import json
import urllib.parse

from .credential_forms import Invalid
from .json_object import JsonObject

BODIES: dict[str, tuple[str, JsonObject]] = {
    "llm": ("/chat/completions", {"max_tokens": 5, "messages": [{"role": "user", "content": "ping"}]}),
    "completion": ("/completions", {"max_tokens": 5, "prompt": "ping"}),
    "text-embedding": ("/embeddings", {"input": ["ping"]}),
    "rerank": (
        "/rerank",
        {"query": "What is the capital of the United States?", "documents": ["Carson City", "Washington"]},
    ),
}


def ask(model: str, model_type: str, credentials: dict[str, str]) -> None:
    """Call the model's endpoint. Raises Invalid in Dify's words when the endpoint does not answer with 200."""
    kind = "completion" if model_type == "llm" and credentials.get("mode") == "completion" else model_type
    if kind not in BODIES:
        return
    path, body = BODIES[kind]
    status, content = call(credentials, path, {"model": credentials.get("endpoint_model_name") or model, **body})
    if status != 200:
        raise Invalid("Credentials validation failed with status code %s and response body %s" % (status, content))


def ask_provider(credentials: dict[str, str]) -> None:
    """Call the endpoint of a provider's own credentials as the OpenAI plugin does. Raises Invalid in its words."""
    base = credentials.get("openai_api_base") or "https://api.openai.com"
    held = {"endpoint_url": base.rstrip("/") + "/v1", "api_key": credentials["openai_api_key"]}
    model = credentials.get("validate_model") or "gpt-4o-mini"
    body = {"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": "ping"}]}
    status, content = call(held, "/chat/completions", body)
    if status != 200:
        raise Invalid("Error code: %s - %s" % (status, words_of(content)))


def words_of(content: str) -> str:
    """Return the words of an error's body, whichever of the usual shapes it has."""
    try:
        told = json.loads(content)
    except ValueError:
        return content.strip()
    error = told.get("error", told) if isinstance(told, dict) else told
    return str(error.get("message", error) if isinstance(error, dict) else error)


def complete(model: str, credentials: dict[str, str], query: str, limit: int) -> str:
    """The answer of a chat model, as an app of Dify gets it. Raises Invalid."""
    body = {
        "model": credentials.get("endpoint_model_name") or model,
        "max_tokens": limit,
        "messages": [{"role": "user", "content": query}],
    }
    status, content = call(credentials, "/chat/completions", body)
    if status != 200:
        raise Invalid("[%s] Error: API request failed with status code %s: %s" % (model, status, content))
    return str(json.loads(content)["choices"][0]["message"]["content"])


def hear(model: str, credentials: dict[str, str], name: str, sound: bytes) -> str:
    """The words of a recording, as an app of Dify gets them. Raises Invalid."""
    mark = "simulated-dify"
    head = '--%s\r\nContent-Disposition: form-data; name="model"\r\n\r\n%s\r\n--%s\r\n' % (
        mark,
        credentials.get("endpoint_model_name") or model,
        mark,
    )
    head += 'Content-Disposition: form-data; name="file"; filename="%s"\r\n\r\n' % name
    body = head.encode() + sound + b"\r\n--" + mark.encode() + b"--\r\n"
    status, content = _call(credentials, "/audio/transcriptions", body, "multipart/form-data; boundary=" + mark)
    if status != 200:
        raise Invalid("[%s] Error: API request failed with status code %s: %s" % (model, status, content.decode()))
    return str(json.loads(content)["text"])


def speak(model: str, credentials: dict[str, str], text: str) -> bytes:
    """The sound of a sentence, as an app of Dify gets it. Raises Invalid."""
    body = {"model": credentials.get("endpoint_model_name") or model, "input": text, "voice": "alloy"}
    status, content = _call(credentials, "/audio/speech", json.dumps(body).encode())
    if status != 200:
        raise Invalid("[%s] Error: API request failed with status code %s: %s" % (model, status, content.decode()))
    return content


def call(credentials: dict[str, str], path: str, body: JsonObject) -> tuple[int, str]:
    """Status and text of the endpoint's answer. Raises Invalid where there is none."""
    status, content = _call(credentials, path, json.dumps(body).encode())
    return status, content.decode(errors="replace")


def _call(credentials: dict[str, str], path: str, body: bytes, kind: str = "application/json") -> tuple[int, bytes]:
    target = urllib.parse.urlsplit(credentials["endpoint_url"])
    url = target.path.rstrip("/") + path
    headers = {"Content-Type": kind}
    if credentials.get("api_key"):
        headers["Authorization"] = "Bearer " + credentials["api_key"]
    host, port = target.hostname or "", target.port or (443 if target.scheme == "https" else 80)
    maker = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    connection = maker(host, port, timeout=300)
    try:
        connection.request("POST", url, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Invalid(
            "An error occurred during credentials validation: HTTPConnectionPool(host=%r, port=%s): "
            "Max retries exceeded with url: %s (Caused by %r)" % (host, port, url, error)
        ) from error
    finally:
        connection.close()
