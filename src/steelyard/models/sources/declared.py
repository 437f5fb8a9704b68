"""A model as models.yml declares it: its manifest and folder on this machine, held against the site's trusted keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from steelyard.errors import SourceMissing
from steelyard.models.content.signing import verify_signature
from steelyard.models.fit.footprint import Footprint

from .resolve import LocalVersion, OnProgress, ignore_progress, resolve_version

if TYPE_CHECKING:
    from steelyard.site.schema import Model
    from steelyard.site.site import Service, Site


def declared_version(
    project: str, model: Model, *trusted: tuple[str, ...], on_progress: OnProgress = ignore_progress
) -> LocalVersion:
    """The manifest and the folder of a declared model on this machine; `on_progress` is as for `resolve_version`.

    `trusted` are sets of keys: one key of each set has to have signed the version. Raises SignatureWrong, and whatever
    `resolve_version` raises.
    """
    local = resolve_version(project, model.source, "models.yml", model.code, model.conversion, on_progress=on_progress)
    for keys in trusted:
        verify_signature(project, model.version, local.manifest.id, model.signature, keys, "models.yml")
    return LocalVersion(replace(local.manifest, signature=model.signature), local.folder)


def declared_footprints(site: Site, services: Iterable[Service]) -> tuple[tuple[Service, Footprint | None], ...]:
    """Services with the footprints of their versions; without those whose source is not on this machine."""
    footprints = []
    for service in services:
        try:
            footprints.append((service, declared_version(service.model, site.models[service.model]).manifest.footprint))
        except SourceMissing:
            continue  # what stores it says so
    return tuple(footprints)
