"""A model as models.yml declares it: its manifest and folder on this machine, held against the keys that the site trusts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from steelyard.errors import SourceMissing

from .signing import hold
from .source import Weights, weights

if TYPE_CHECKING:
    from steelyard.site import Model, Service, Site


def declared_weights(project: str, model: Model, *trusted: tuple[str, ...]) -> Weights:
    """`trusted`: sets of keys, one of each of which has to have signed it. Raises as `weights` does, and SignatureWrong."""
    found = weights(project, model.source, "models.yml", model.code, model.shape)
    for keys in trusted:
        hold(project, model.version, found.manifest.id, model.signature, keys, "models.yml")
    return Weights(replace(found.manifest, signature=model.signature), found.folder)


def declared_figures(site: Site, services: Iterable[Service]) -> tuple[tuple[Service, dict[str, Any]], ...]:
    """Services with the `fit` figures of their versions; without those whose source is not on this machine."""
    found = []
    for service in services:
        try:
            found.append((service, declared_weights(service.model, site.models[service.model]).manifest.fit))
        except SourceMissing:
            continue  # what stores it says so
    return tuple(found)
