"""The end-to-end proof: what a user of Dify does with each registered model, through Dify's own service API.

An llm answers a question through an app of its own; a text-embedding model indexes a document in a knowledge base of
its own and finds it again; a rerank model sorts what such a search found; a speech model hears a tone or says a
sentence for an app, which always takes the workspace's default one, so another is told as not asked. All of it is
removed again, failed or not.
"""

from __future__ import annotations

import io
import math
import struct
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from steelyard.errors import DifyRefused, SteelyardError

from .client import DifyClient
from .console import ListedModel
from .http import HttpResponse, UploadFile, exchange, message_of
from .uses import default_of

PREFIX = "steelyard check"
QUESTION, USER = "Say hello.", "steelyard"
TEXT = "A steelyard is a balance with arms of unequal length."
INDEX_S = 120.0


@dataclass(frozen=True)
class ModelProof:
    """The outcome for one model. `result` is answered, failed or not asked."""

    model: str
    type: str
    result: str
    seconds: float | None
    why: str = ""

    def as_json(self) -> dict[str, object]:
        """The proof's object in documents."""
        return {"model": self.model, "type": self.type, "result": self.result, "seconds": self.seconds, "why": self.why}


def prove(client: DifyClient, provider: str, models: list[ListedModel]) -> Iterator[ModelProof]:
    """One proof per enabled model of the provider, in Dify's order; embedders before rerankers, who need one."""
    embedder, llm = (_first(models, kind) for kind in ("text-embedding", "llm"))
    for entry in models:
        name, kind = entry["model"], entry["model_type"]
        if entry["status"] != "active":
            yield ModelProof(name, kind, "not asked", None, f"it is {entry['status']}")
        elif kind == "llm":
            yield _timed(name, kind, partial(_app, client, provider, name))
        elif kind == "text-embedding":
            yield _timed(name, kind, partial(_knowledge, client, provider, name, None))
        elif kind == "rerank" and embedder is not None:
            yield _timed(name, kind, partial(_knowledge, client, provider, embedder, name))
        elif kind == "rerank":
            yield ModelProof(name, kind, "not asked", None, "a search needs a text-embedding model too")
        elif llm is None:
            yield ModelProof(name, kind, "not asked", None, "its app needs an llm too")
        elif default_of(client, kind) != (provider, name):
            yield ModelProof(name, kind, "not asked", None, "apps use the default one only")
        else:
            yield _timed(name, kind, partial(_speech, client, provider, llm, kind))


def _first(models: list[ListedModel], kind: str) -> str | None:
    return next(
        (str(entry["model"]) for entry in models if (entry["model_type"], entry["status"]) == (kind, "active")), None
    )


def _timed(name: str, kind: str, work: Callable[[], str]) -> ModelProof:
    begin = time.monotonic()
    try:
        why = work()
    except SteelyardError as error:
        why = str(error)
    seconds = round(time.monotonic() - begin, 2)
    return ModelProof(name, kind, "failed" if why else "answered", seconds, why)


def _service(client: DifyClient, key: str, method: str, path: str, body: dict[str, Any]) -> Any:
    """The body that a call of the service API answers. Raises DifyRefused."""
    return _called(client, key, method, path, body).body


def _called(client: DifyClient, key: str, method: str, path: str, body: dict[str, Any]) -> HttpResponse:
    """A call of the service API, as an app's users make it. Raises DifyRefused."""
    base = f"{client.access.url}/v1"
    answer = exchange(base, method, path, body, {"Authorization": f"Bearer {key}"})
    if answer.status >= 400:
        why = message_of(answer.body)
        raise DifyRefused(where=base, call=f"{method} {path}", status=str(answer.status), why=why)
    return answer


@contextmanager
def _removed(client: DifyClient, path: str) -> Iterator[None]:
    """Remove what was made for the check, whatever happened."""
    try:
        yield
    finally:
        with suppress(DifyRefused):
            client.send("DELETE", path, None)


@contextmanager
def _chat_app(client: DifyClient, provider: str, llm: str, **features: Any) -> Iterator[str]:
    """Key of an app that is there as long as it is used; `features` are over those of its configuration."""
    name = f"{PREFIX}: {llm}"[:40]
    made = client.send(
        "POST", "/apps", {"name": name, "mode": "chat", "icon_type": "emoji", "icon": "x", "description": ""}
    )
    with _removed(client, f"/apps/{made['id']}"):
        client.send("POST", f"/apps/{made['id']}/model-config", {**_chat_config(provider, llm), **features})
        client.send("POST", f"/apps/{made['id']}/api-enable", {"enable_api": True})
        yield client.send("POST", f"/apps/{made['id']}/api-keys", None)["token"]


def _app(client: DifyClient, provider: str, model: str) -> str:
    """Empty where an app with this model answered; else why not."""
    body = {"inputs": {}, "query": QUESTION, "response_mode": "blocking", "user": USER}
    with _chat_app(client, provider, model) as key:
        answer = _service(client, key, "POST", "/chat-messages", body)
    return "" if answer.get("answer") else "an answer without text"


def _speech(client: DifyClient, provider: str, llm: str, kind: str) -> str:
    """Empty where the default model of this kind served an app; else why not. What it heard or how it sounds is not
    judged.
    """
    features = {"speech_to_text": {"enabled": True}, "text_to_speech": {"enabled": True, "voice": "", "language": ""}}
    with _chat_app(client, provider, llm, **features) as key:
        if kind == "tts":
            answer = _called(client, key, "POST", "/text-to-audio", {"text": QUESTION, "user": USER})
            sound = (answer.header("Content-Type") or "").startswith("audio/")
            return "" if sound else f"no sound: {message_of(answer.body)[:200]}"
        form = {"file": UploadFile("tone.wav", _tone(), "audio/wav"), "user": USER}
        transcript = _service(client, key, "POST", "/audio-to-text", form)
    return "" if isinstance(transcript, dict) and "text" in transcript else "an answer without a text"


def _tone(seconds: float = 0.5, rate: int = 16000) -> bytes:
    """A WAV file of 440 Hz, one channel of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        samples = (int(8000 * math.sin(2 * math.pi * 440 * n / rate)) for n in range(int(seconds * rate)))
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()


def _chat_config(provider: str, model: str) -> dict[str, Any]:
    parameters = {"max_tokens": 8, "temperature": 0.0, "stop": []}
    off = {"enabled": False}
    return {
        "model": {"provider": provider, "name": model, "mode": "chat", "completion_params": parameters},
        "pre_prompt": "",
        "prompt_type": "simple",
        "chat_prompt_config": {},
        "completion_prompt_config": {},
        "user_input_form": [],
        "dataset_query_variable": "",
        "opening_statement": "",
        "suggested_questions": [],
        "more_like_this": off,
        "suggested_questions_after_answer": off,
        "speech_to_text": off,
        "text_to_speech": off,
        "retriever_resource": off,
        "sensitive_word_avoidance": {"enabled": False, "type": "", "configs": []},
        "agent_mode": {"enabled": False, "max_iteration": 5, "strategy": "function_call", "tools": []},
        "dataset_configs": {"retrieval_model": "multiple", "datasets": {"datasets": []}},
        "file_upload": {"image": {"enabled": False, "number_limits": 3, "detail": "high", "transfer_methods": []}},
    }


def _knowledge(client: DifyClient, provider: str, embedder: str, reranker: str | None) -> str:
    """Empty where a document came back from a search; else why not."""
    key = client.send("POST", "/datasets/api-keys", None)
    with _removed(client, f"/datasets/api-keys/{key['id']}"):
        token = key["token"]
        name = f"{PREFIX}: {reranker or embedder}"[:40]
        made = _service(
            client,
            token,
            "POST",
            "/datasets",
            {
                "name": name,
                "indexing_technique": "high_quality",
                "permission": "only_me",
                "embedding_model": embedder,
                "embedding_model_provider": provider,
            },
        )
        with _removed(client, f"/datasets/{made['id']}"):
            document = {
                "name": "balance",
                "text": TEXT,
                "indexing_technique": "high_quality",
                "process_rule": {"mode": "automatic"},
            }
            batch = _service(client, token, "POST", f"/datasets/{made['id']}/document/create-by-text", document)[
                "batch"
            ]
            why = _indexed(client, token, made["id"], batch)
            if why:
                return why
            body = {"query": "What is a steelyard?", "retrieval_model": _retrieval(provider, reranker)}
            records = _service(client, token, "POST", f"/datasets/{made['id']}/retrieve", body)["records"]
            return "" if records else "the document was not found again"


def _indexed(client: DifyClient, token: str, dataset: str, batch: str) -> str:
    end = time.monotonic() + INDEX_S
    while True:
        status = _service(client, token, "GET", f"/datasets/{dataset}/documents/{batch}/indexing-status", {})["data"][0]
        if status["indexing_status"] == "completed":
            return ""
        if status["indexing_status"] == "error" or time.monotonic() > end:
            return str(status.get("error") or f"still {status['indexing_status']} after {INDEX_S:.0f} s")
        time.sleep(1)


def _retrieval(provider: str, reranker: str | None) -> dict[str, Any]:
    chosen = {"reranking_provider_name": provider if reranker else "", "reranking_model_name": reranker or ""}
    return {
        "search_method": "semantic_search",
        "reranking_enable": reranker is not None,
        "reranking_mode": "reranking_model",
        "reranking_model": chosen,
        "top_k": 2,
        "score_threshold_enabled": False,
        "score_threshold": None,
    }
