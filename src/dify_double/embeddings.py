"""Vectors of texts, and the cache that keeps Dify from asking for one twice: a text that is known needs no endpoint."""

from __future__ import annotations

import hashlib

from .clock import Clock
from .json_object import State
from .model_providers import ProviderModels
from .upstream import embed

QUERY_S = 600.0  # how long a query's vector is kept; a document's is kept for good


class Embeddings:
    """Vectors over `state["embedded"]`: hash of model and text to vector, and when it ends to count."""

    def __init__(self, state: State, models: ProviderModels, clock: Clock) -> None:
        self.state, self.models, self.clock = state, models, clock

    def require(self, provider: str, model: str) -> None:
        """Check that the model can be used. Raises Invalid."""
        self.models.credentials(provider, model, "text-embedding")

    def of_document(self, provider: str, model: str, text: str) -> list[float]:
        """Return the vector of a document's text. Raises Invalid and EndpointFailed."""
        return self._vector("document", provider, model, text, None)

    def of_query(self, provider: str, model: str, text: str) -> list[float]:
        """Return the vector of a query. Raises Invalid and EndpointFailed."""
        return self._vector("query", provider, model, text, self.clock.read() + QUERY_S)

    def _vector(self, kind: str, provider: str, model: str, text: str, ends: float | None) -> list[float]:
        values = self.models.credentials(provider, model, "text-embedding")
        key = hashlib.sha256("|".join((kind, provider, model, text)).encode()).hexdigest()
        known = self.state["embedded"].get(key)
        if known is None or (known["ends"] is not None and known["ends"] < self.clock.read()):
            known = self.state["embedded"][key] = {"vector": embed(model, values, text), "ends": ends}
        vector: list[float] = known["vector"]
        return vector
