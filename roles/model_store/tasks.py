"""Brings a host to the declared versions of the models it stores: whole, verified, read-only, `current` pointing there."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.models.declared import declared_figures, declared_weights
from steelyard.modules.facts.python import Python
from steelyard.modules.operations.fitting import has_room
from steelyard.modules.operations.path import content, folder
from steelyard.modules.operations.store import current, published
from steelyard.native import hash_library
from steelyard.settings import settings_from
from steelyard.site import Site
from steelyard.unknowns import declare_unknown
from steelyard_host.hashing import LIBRARY

from .settings import Settings

TEMPLATES = Path(__file__).parent / "templates"


@deploy("model_store")
def model_root() -> None:
    """What a host needs before a version can come, by `apply` or by `models push`."""
    site: Site = host.data.site
    if not _stored(site):
        return
    folder(name="Make the model root", path=site.model_root, mode=settings_from(Settings, host.data).mode)
    python = host.get_fact(Python)
    if python is None:
        declare_unknown("hash library", because="python3 is not installed yet", settled_by="the next plan")
        return
    library = hash_library(python.version, python.machine)
    content(name="Install the hash library", path=str(LIBRARY), content=library)
    if settings_from(Settings, host.data).lock_gib:
        unit = (TEMPLATES / "hold@.service.j2").read_text()
        content(name="Write the unit that locks versions", path="/etc/systemd/system/steelyard-hold@.service", content=unit)


@deploy("model_store")
def model_store() -> None:
    """One task a version; a version that fails leaves `current` where it was."""
    site: Site = host.data.site
    model_root()
    wanted = settings_from(Settings, host.data)
    serving = declared_figures(site, site.services_on(host.data.host_name))
    for project in host.loop(_stored(site)):
        model = site.models[project]
        for service, _ in serving:
            if service.model == project and service.serve.fit == "refuse":
                has_room(name="See that the version has room", service=service.name, services=serving)
        manifest, source = declared_weights(project, model, wanted.trusted_keys)
        published(
            name="Publish the version",
            root=site.model_root,
            project=project,
            version=model.version,
            source=source,
            manifest=manifest,
            shared=model.shared,
        )
        current(name="Switch current to the version", root=site.model_root, project=project, version=model.version)


def _stored(site: Site) -> list[str]:
    return [project for project, hosts in site.stored_on.items() if host.data.host_name in hosts]
