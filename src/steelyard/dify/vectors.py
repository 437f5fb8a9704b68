"""Vectors of knowledge bases belong to the version of the model that made them: another version finds nothing right.

Dify asks a model by its alias, so it never learns that another version answers. What a host's knowledge bases were
indexed with is kept beside the marks of the keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steelyard.errors import DifyVectorsChanged

from .account import OWNER, role_of_login
from .client import DifyClient
from .uses import SECRET_KNOWLEDGE, knowledge_embedded_by

SHOWN = 5  # knowledge bases that are named; the rest are counted


@dataclass(frozen=True)
class Embedder:
    """An embedding model as declared. `version` is the one that answers; `vectors` names what its vectors are like, and
    `said` whether the declaration says so itself.
    """

    alias: str
    version: str
    vectors: str
    said: bool
    written: str  # FILE:LINE

    @property
    def mark(self) -> str:
        """The name under which the host keeps what knowledge bases were indexed with."""
        return f"vectors/{self.alias}"


def embedder_of(alias: str, project: str, version: str, vectors_as: Mapping[str, str], written: str) -> Embedder:
    """Return the embedder that a model's declaration makes."""
    vectors = f"{project} {vectors_as.get(version, version)}"
    return Embedder(alias, version, vectors, version in vectors_as, written)


def refuse_other_vectors(client: DifyClient, provider: str, embedder: Embedder, before: str) -> None:
    """Refuse where knowledge bases hold vectors of `before`. Raises DifyVectorsChanged and the client's errors."""
    names = [f"`{name}`" for name in knowledge_embedded_by(client, provider, embedder.alias)]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    bases = "knowledge base" if len(names) == 1 else "knowledge bases"
    knowledge = f"{len(names)} {bases}: {', '.join(names[:SHOWN])}{more}"
    if not names:
        if role_of_login(client) == OWNER:
            return
        knowledge = f"{SECRET_KNOWLEDGE}, perhaps: `{client.access.email}` is no owner and cannot see them"
    fields = {"alias": embedder.alias, "version": embedder.version, "before": before}
    raise DifyVectorsChanged(where=embedder.written, knowledge=knowledge, **fields)
