"""Brings a host to the declared versions of the models it stores: whole, verified, read-only, `current` pointing there."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.modules.operations.path import folder
from steelyard.modules.operations.store import current, published
from steelyard.settings import settings_from
from steelyard.site import Site
from steelyard.source import read_manifest

from .settings import Settings


@deploy("model_store")
def model_store() -> None:
    """One task a version; a version that fails leaves `current` where it was."""
    site: Site = host.data.site
    stored = [project for project, hosts in site.stored_on.items() if host.data.host_name in hosts]
    if not stored:
        return
    folder(name="Make the model root", path=site.model_root, mode=settings_from(Settings, host.data).mode)
    for project in host.loop(stored):
        model = site.models[project]
        manifest = read_manifest(project, model.source, "models.yml")
        source = Path(model.source.removeprefix("file://"))
        published(
            name="Publish the version",
            root=site.model_root,
            project=project,
            version=model.version,
            source=source,
            manifest=manifest,
        )
        current(name="Switch current to the version", root=site.model_root, project=project, version=model.version)
