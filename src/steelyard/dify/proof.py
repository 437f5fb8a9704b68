"""The end-to-end proof: what a user of Dify does with each registered model, through Dify's own service API.

An llm answers a question through an app of its own; a text-embedding model indexes a document in a knowledge base of
its own and finds it again; a rerank model sorts what such a search found; a speech model hears a tone or says a
sentence for an app, which always takes the workspace's default one, so another is told as not asked. All of it is
removed again, failed or not.

Dify, a gateway or an engine may know an answer to what it was asked before: Dify keeps embeddings by their text. So
each proof asks what nobody asked before.
"""

from __future__ import annotations

import io
import math
import secrets
import struct
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from steelyard.errors import SteelyardError

from .check_names import new_nonce
from .check_objects import CheckObjects
from .client import DifyClient
from .console import ListedModel
from .http import UploadFile, message_of
from .service_calls import ServiceCalls
from .uses import default_of

QUESTION, USER = "Say hello.", "steelyard"
TEXT = "A steelyard is a balance with arms of unequal length."
INDEX_S = 120.0
PROOF_S = 900.0  # an object of a check is known for left behind when it is older than its proof can be
POLL_S = 1.0


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


def prove(
    client: DifyClient, provider: str, models: list[ListedModel], objects: CheckObjects | None = None
) -> Iterator[ModelProof]:
    """One proof per enabled model of the provider, in Dify's order; a reranker's needs an embedder, speech an llm."""
    own = objects or CheckObjects(client)
    try:
        yield from _proofs(own, provider, models)
    finally:
        if objects is None:
            own.close()


def _proofs(own: CheckObjects, provider: str, models: list[ListedModel]) -> Iterator[ModelProof]:
    embedder, llm = (_first(models, kind) for kind in ("text-embedding", "llm"))
    for entry in models:
        name, kind = entry["model"], entry["model_type"]
        if entry["status"] != "active":
            yield ModelProof(name, kind, "not asked", None, f"it is {entry['status']}")
        elif kind == "llm":
            yield _timed(name, kind, partial(_app, own, provider, name))
        elif kind == "text-embedding":
            yield _timed(name, kind, partial(_knowledge, own, provider, name, None))
        elif kind == "rerank" and embedder is not None:
            yield _timed(name, kind, partial(_knowledge, own, provider, embedder, name))
        elif kind == "rerank":
            yield ModelProof(name, kind, "not asked", None, "a search needs a text-embedding model too")
        elif llm is None:
            yield ModelProof(name, kind, "not asked", None, "its app needs an llm too")
        elif default_of(own.client, kind) != (provider, name):
            yield ModelProof(name, kind, "not asked", None, "apps use the default one only")
        else:
            yield _timed(name, kind, partial(_speech, own, provider, llm, kind))


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


def _asking(own: CheckObjects, key: str) -> ServiceCalls:
    return ServiceCalls(own.client.access.url, key, time.monotonic() + PROOF_S)


def _app(own: CheckObjects, provider: str, model: str) -> str:
    """Empty where an app with this model answered; else why not."""
    body = {"inputs": {}, "query": f"{QUESTION} ({new_nonce()})", "response_mode": "blocking", "user": USER}
    with own.app(_chat_config(provider, model)) as key:
        answer = _asking(own, key).ask("POST", "/chat-messages", body)
    return "" if answer.get("answer") else "an answer without text"


def _speech(own: CheckObjects, provider: str, llm: str, kind: str) -> str:
    """Empty where the default model of this kind served an app; else why not. What it heard or how it sounds is not
    judged.
    """
    features = {"speech_to_text": {"enabled": True}, "text_to_speech": {"enabled": True, "voice": "", "language": ""}}
    with own.app({**_chat_config(provider, llm), **features}) as key:
        if kind == "tts":
            text = f"{QUESTION} {new_nonce()}"
            answer = _asking(own, key).call("POST", "/text-to-audio", {"text": text, "user": USER})
            sound = (answer.header("Content-Type") or "").startswith("audio/") and answer.body is not None
            return "" if sound else f"no sound: {message_of(answer.body)[:200]}"
        form = {"file": UploadFile("tone.wav", _tone(440 + secrets.randbelow(220)), "audio/wav"), "user": USER}
        transcript = _asking(own, key).ask("POST", "/audio-to-text", form)
    return "" if isinstance(transcript, dict) and "text" in transcript else "an answer without a text"


def _tone(hertz: int, seconds: float = 0.5, rate: int = 16000) -> bytes:
    """A WAV file of one tone, one channel of 16 bits; its loudness is its own too."""
    loudness = 8000 + secrets.randbelow(8000)
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        samples = (int(loudness * math.sin(2 * math.pi * hertz * n / rate)) for n in range(int(seconds * rate)))
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


def _knowledge(own: CheckObjects, provider: str, embedder: str, reranker: str | None) -> str:
    """Empty where a document came back from a search; else why not."""
    nonce = new_nonce()
    settings = {
        "indexing_technique": "high_quality",
        "embedding_model": embedder,
        "embedding_model_provider": provider,
    }
    document = {
        "name": "balance",
        "text": f"{TEXT} This one has the number {nonce}.",
        "indexing_technique": "high_quality",
        "process_rule": {"mode": "automatic"},
    }
    query = {
        "query": f"What is a steelyard with the number {nonce}?",
        "retrieval_model": _retrieval(provider, reranker),
    }
    with own.knowledge_key() as (key_id, token):
        service = _asking(own, token)
        with own.knowledge(key_id, settings, partial(service.ask, "POST", "/datasets")) as dataset:
            batch = service.ask("POST", f"/datasets/{dataset}/document/create-by-text", document)["batch"]
            why = _indexed(service, dataset, batch)
            if why:
                return why
            records = service.ask("POST", f"/datasets/{dataset}/retrieve", query)["records"]
    came_back = any(nonce in str(record["segment"]["content"]) for record in records)
    return "" if came_back else "the document was not found again"


def _indexed(service: ServiceCalls, dataset: str, batch: str) -> str:
    """Empty when the document is indexed; else why it is not."""
    end = time.monotonic() + min(INDEX_S, service.seconds_left)
    while True:
        status = service.ask("GET", f"/datasets/{dataset}/documents/{batch}/indexing-status")["data"][0]
        if status["indexing_status"] == "completed":
            return ""
        if status["indexing_status"] == "error" or time.monotonic() > end:
            return str(status.get("error") or f"still {status['indexing_status']} after {INDEX_S:.0f} s")
        time.sleep(POLL_S)


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
