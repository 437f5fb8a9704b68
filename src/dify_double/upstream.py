"""Calls a model's endpoint as Dify's plugins do when credentials are validated, so that a wrong one is refused."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Callable
from typing import NamedTuple

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
        document = json.loads(content)
    except ValueError:
        return content.strip()
    error = document.get("error", document) if isinstance(document, dict) else document
    return str(error.get("message", error) if isinstance(error, dict) else error)


class EndpointFailed(Exception):
    """An endpoint that did not do what an app or a knowledge base asked of it; the text is the plugin's."""

    def document(self) -> str:
        """Return the failure as the plugin hands it to Dify."""
        return json.dumps({"error_type": "InvokeError", "message": str(self), "args": {}})


class Completion(NamedTuple):
    """The answer of a chat model: the parts as they came, and the endpoint's count of tokens."""

    parts: list[str]
    usage: JsonObject

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.parts)


Complete = Callable[[str, "dict[str, str]", "list[JsonObject]", JsonObject], Completion]


def complete(model: str, credentials: dict[str, str], messages: list[JsonObject], options: JsonObject) -> Completion:
    """Return the answer of a chat model, in parts where `options` want a stream. Raises EndpointFailed."""
    body = {"model": credentials.get("endpoint_model_name") or model, "messages": messages, **options}
    content = _done(*_tried(credentials, "/chat/completions", json.dumps(body).encode()))
    if content.lstrip().startswith(b"data:"):
        events = [line[5:].strip() for line in content.decode().splitlines() if line.startswith("data:")]
        chunks = [json.loads(event) for event in events if event != "[DONE]"]
        deltas = [choice.get("delta", {}).get("content") for chunk in chunks for choice in chunk.get("choices", [])]
        counted = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
        return Completion([delta for delta in deltas if delta], counted[-1] if counted else {})
    try:
        answer = json.loads(content)
        return Completion([str(answer["choices"][0]["message"]["content"] or "")], answer.get("usage") or {})
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise EndpointFailed("[models] Error: %r" % error) from error


def embed(model: str, credentials: dict[str, str], text: str) -> list[float]:
    """Return the vector of a text. Raises EndpointFailed."""
    body = {"model": credentials.get("endpoint_model_name") or model, "input": [text]}
    answer = _asked(credentials, "/embeddings", body)
    try:
        return [float(number) for number in answer["data"][0]["embedding"]]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise EndpointFailed("[models] Error: %r" % error) from error


def rerank(model: str, credentials: dict[str, str], query: str, documents: list[str]) -> list[tuple[int, float]]:
    """Return index and score of each document. Raises EndpointFailed."""
    body = {"model": credentials.get("endpoint_model_name") or model, "query": query, "documents": documents}
    answer = _asked(credentials, "/rerank", body)
    try:
        return [(int(entry["index"]), float(entry["relevance_score"])) for entry in answer["results"]]
    except (KeyError, TypeError, ValueError) as error:
        raise EndpointFailed("[models] Error: %r" % error) from error


def hear(model: str, credentials: dict[str, str], name: str, sound: bytes) -> str:
    """Return the words of a recording. Raises EndpointFailed."""
    mark = "simulated-dify"
    head = '--%s\r\nContent-Disposition: form-data; name="model"\r\n\r\n%s\r\n--%s\r\n' % (
        mark,
        credentials.get("endpoint_model_name") or model,
        mark,
    )
    head += 'Content-Disposition: form-data; name="file"; filename="%s"\r\n\r\n' % name
    body = head.encode() + sound + b"\r\n--" + mark.encode() + b"--\r\n"
    kind = "multipart/form-data; boundary=" + mark
    content = _done(*_tried(credentials, "/audio/transcriptions", body, kind))
    return str(json.loads(content)["text"])


def speak(model: str, credentials: dict[str, str], text: str, voice: str) -> bytes:
    """Return the sound of a sentence. Raises EndpointFailed."""
    body = {"model": credentials.get("endpoint_model_name") or model, "input": text, "voice": voice}
    return _done(*_tried(credentials, "/audio/speech", json.dumps(body).encode()))


def _done(status: int, content: bytes) -> bytes:
    """Return an answer's content. Raises EndpointFailed where its status is an error."""
    if status != 200:
        text = content.decode(errors="replace")
        raise EndpointFailed("[models] Error: API request failed with status code %s: %s" % (status, text))
    return content


def _asked(credentials: dict[str, str], path: str, body: JsonObject) -> JsonObject:
    """Return the object that an endpoint answered. Raises EndpointFailed, in the words of another client than chat."""
    status, content = _tried(credentials, path, json.dumps(body).encode())
    if status != 200:
        kind = "Client" if status < 500 else "Server"
        parts = (status, kind, http.client.responses.get(status, ""), credentials["endpoint_url"].rstrip("/") + path)
        raise EndpointFailed("[models] Error: %s %s Error: %s for url: %s" % parts)
    try:
        answer: JsonObject = json.loads(content)
    except ValueError as error:
        raise EndpointFailed("[models] Error: %s" % error) from error
    return answer


def _tried(credentials: dict[str, str], path: str, body: bytes, kind: str = "application/json") -> tuple[int, bytes]:
    """Return what `_call` does. Raises EndpointFailed where there is no answer."""
    try:
        return _call(credentials, path, body, kind)
    except Invalid as error:
        raise EndpointFailed("[models] Error: %s" % str(error).partition("validation: ")[2]) from error


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
