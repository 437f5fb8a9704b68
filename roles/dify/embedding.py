"""An embedding alias that knowledge bases of Dify use: a rollout changes their vectors by no accident."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from steelyard.dify.vectors import embedder_of, refuse_other_vectors
from steelyard.errors import SettingMissing

from .registration import connection

if TYPE_CHECKING:
    from steelyard.inventory.fleet import Fleet
    from steelyard.site.site import Service, Site


def refuse_new_vectors(
    fleet: Fleet, site: Site, services: Sequence[Service], served: Callable[[], Iterable[str]]
) -> None:
    """Refuse before anything is fetched or switched. `served` asks the hosts for the versions that they serve.

    Raises DifyVectorsChanged, and what Dify answers where it cannot be asked.
    """
    project, version = services[0].model, services[0].version
    model = site.models[project]
    if model.dify is None or model.dify.type != "text-embedding" or model.alias is None:
        return
    of, written = model.dify.vectors_as, site.written("models", project, "version")
    embedder = embedder_of(model.alias, project, version, of, written)
    if embedder.said:
        return
    others = sorted({before for before in served() if of.get(before, before) != of.get(version, version)})
    if not others:
        return
    try:
        client, provider = connection(fleet)
    except SettingMissing:
        return  # no Dify is declared that could use it
    refuse_other_vectors(client, provider, embedder, ", ".join(others))
