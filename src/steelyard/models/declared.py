"""A model as models.yml declares it: its manifest and folder on this machine, held against the keys that the site trusts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .signing import hold
from .source import Weights, weights

if TYPE_CHECKING:
    from steelyard.site import Model


def declared_weights(project: str, model: Model, *trusted: tuple[str, ...]) -> Weights:
    """`trusted`: sets of keys, one of each of which has to have signed it. Raises SourceMissing, SourceRefused, SignatureWrong."""
    found = weights(project, model.source, "models.yml", model.code, model.shape)
    for keys in trusted:
        hold(project, model.version, found.manifest.id, model.signature, keys, "models.yml")
    return Weights(replace(found.manifest, signature=model.signature), found.folder)
