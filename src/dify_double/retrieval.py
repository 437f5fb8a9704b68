"""Search in a knowledge base: by the nearest vectors, and by a reranker where one is named."""

from __future__ import annotations

import math
from collections.abc import Callable

from .dataset_views import RETRIEVAL
from .datasets import ONE
from .documents import segment
from .embeddings import Embeddings
from .json_object import JsonObject, State
from .model_providers import ProviderModels
from .routes import Answer, Request, Route, flat, ok
from .upstream import EndpointFailed, rerank
from .validation import Complaints

Handler = Callable[[JsonObject, Request], Answer]  # of one knowledge base
OfOne = Callable[[Handler], Callable[[Request], Answer]]


class Retrieval:
    """Searches over the documents that are indexed."""

    def __init__(self, state: State, models: ProviderModels, embeddings: Embeddings) -> None:
        self.state, self.models, self.embeddings = state, models, embeddings

    def routes(self, of_one: OfOne) -> list[Route]:
        """Return the console's route."""
        return [Route("POST", ONE + "/hit-testing", of_one(self._search))]

    def service_routes(self, of_one: OfOne) -> list[Route]:
        """Return the routes of the service API: two names of the same."""
        names = ("/retrieve", "/hit-testing")
        return [Route("POST", ONE + name, of_one(self._search), key="dataset") for name in names]

    def _search(self, dataset: JsonObject, request: Request) -> Answer:
        complaints = Complaints("HitTestingPayload", request.body).required("query").text("query")
        complaints.mapping("retrieval_model", null=True).refuse()
        try:
            records = self._records(dataset, request.body)
        except EndpointFailed as failure:
            return flat(400, "invalid_param", "req_id:  PluginInvokeError: %s" % failure.document())
        return ok({"query": {"content": request.body["query"]}, "records": records})

    def _records(self, dataset: JsonObject, body: JsonObject) -> list[JsonObject]:
        """Return what was found, the best first: no more than the settings want, and nothing that points the other
        way. Raises Invalid and EndpointFailed.
        """
        settings = {**RETRIEVAL, **(dataset.get("retrieval_model") or {}), **(body.get("retrieval_model") or {})}
        query, ranked = body["query"], []
        every = dataset.get("documents", {}).values()
        done = [document for document in every if document["status"] == "completed"]
        if dataset.get("embedding_model"):
            vector = self.embeddings.of_query(dataset["embedding_model_provider"], dataset["embedding_model"], query)
            ranked = [(cosine(vector, document["vector"]), document) for document in done if "vector" in document]
            ranked = [(score, document) for score, document in ranked if score >= 0]
        else:
            asked = set(query.lower().split())
            ranked = [(1.0, document) for document in done if asked & set(document["text"].lower().split())]
        ranked = sorted(ranked, key=lambda pair: -pair[0])[: settings["top_k"]]
        if settings["reranking_enable"] and settings["reranking_mode"] != "weighted_score":
            ranked = self._reranked(settings["reranking_model"], query, [document for _, document in ranked])
        least = settings["score_threshold"] if settings["score_threshold_enabled"] else None
        return [record(document, score) for score, document in ranked if least is None or score >= least]

    def _reranked(self, chosen: JsonObject, query: str, documents: list[JsonObject]) -> list[tuple[float, JsonObject]]:
        """Return documents in the reranker's order, with its scores."""
        provider, model = chosen.get("reranking_provider_name", ""), chosen.get("reranking_model_name", "")
        values = self.models.credentials(provider, model, "rerank")
        if not documents:
            return []
        scores = rerank(model, values, query, [document["text"] for document in documents])
        return sorted(((score, documents[index]) for index, score in scores), key=lambda pair: -pair[0])


def cosine(one: list[float], other: list[float]) -> float:
    """Return how alike two vectors are, from -1 to 1."""
    size = math.sqrt(sum(a * a for a in one)) * math.sqrt(sum(b * b for b in other))
    return sum(a * b for a, b in zip(one, other)) / size if size else 0.0  # noqa: B905  runs on Python 3.9 too


def record(document: JsonObject, score: float) -> JsonObject:
    """Return one document that was found."""
    source = {"id": document["id"], "data_source_type": "upload_file", "name": document["name"]}
    shown = {
        **segment(document),
        "sign_content": None,
        "keywords": [],
        "created_by": document["created_by"],
        "document": {**source, "doc_type": None, "doc_metadata": None},
    }
    return {
        "segment": shown,
        "child_chunks": [],
        "score": score,
        "tsne_position": None,
        "files": [],
        "summary": None,
    }
