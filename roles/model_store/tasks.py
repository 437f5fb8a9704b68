"""Brings a host to the declared versions of the models it stores: whole, verified, read-only, `current` pointing
there.
"""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.api.settings import settings_from
from steelyard.api.unknown import declare_unknown
from steelyard.artifacts.hash_library import hash_library
from steelyard.models.sources.declared import declared_footprints, declared_version
from steelyard.modules.facts.python import Python
from steelyard.modules.facts.trials import OpenTrials
from steelyard.modules.operations.gpu_memory import fits_gpu_memory
from steelyard.modules.operations.path import file, folder
from steelyard.modules.operations.store import current, version_published
from steelyard.site.site import Site
from steelyard_host.store.hashing import LIBRARY

from .retire import retire_models
from .settings import Settings

TEMPLATES = Path(__file__).parent / "templates"


@deploy("model_store")
def model_root() -> None:
    """Bring what a host needs before a version can come, by `apply` or by `models push`."""
    site: Site = host.data.site
    if not _stored(site):
        return
    folder(name="Make the model root", path=site.model_root, mode=settings_from(Settings, host.data).mode)
    python = host.get_fact(Python)
    if python is None:
        declare_unknown("hash library", because="python3 is not installed yet", settled_by="the next plan")
        return
    library = hash_library(python.version, python.machine)
    file(name="Install the hash library", path=str(LIBRARY), content=library)
    if settings_from(Settings, host.data).lock_gib:
        unit = (TEMPLATES / "hold@.service.j2").read_text()
        file(
            name="Write the unit that locks versions", path="/etc/systemd/system/steelyard-hold@.service", content=unit
        )


@deploy("model_store")
def model_store() -> None:
    """One task a version; a version that fails leaves `current` where it was."""
    site: Site = host.data.site
    model_root()
    wanted = settings_from(Settings, host.data)
    serving = declared_footprints(site, site.services_on(host.data.host_name))
    trials = host.get_fact(OpenTrials) if serving else {}
    for project in host.loop(_stored(site)):
        model = site.models[project]
        for service, _ in serving:
            if service.model == project and service.serve.fit == "refuse":
                fits_gpu_memory(name="See that the version has room", service=service.name, services=serving)
        manifest, source = declared_version(project, model, wanted.trusted_keys)
        version_published(
            name="Publish the version",
            root=site.model_root,
            project=project,
            version=model.version,
            source=source,
            manifest=manifest,
            shared=model.shared,
        )
        if any(Path(trial.folder).parent == Path(site.model_root, project) for trial in trials.values()):
            continue  # the rollout that goes on switches it, or goes back
        current(name="Switch current to the version", root=site.model_root, project=project, version=model.version)


@deploy("model_store")
def retired_models() -> None:
    """Remove, or tell, versions that no model declares, when nothing serves them any more."""
    site: Site = host.data.site
    retire_models(site, _stored(site))


def _stored(site: Site) -> list[str]:
    return [project for project, hosts in site.stored_on.items() if host.data.host_name in hosts]
