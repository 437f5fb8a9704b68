"""Weights of models that are declared no more, or no more on this host: told by drift, removed by `--prune`."""

from __future__ import annotations

from pyinfra.context import host

from steelyard.api import live_check
from steelyard.api.finding import Severity
from steelyard.api.pruning import is_pruning
from steelyard.models.retention import Undeclared, undeclared_projects, undeclared_versions
from steelyard.modules.facts.helper import helper_fact
from steelyard.modules.operations.removal import versions_removed
from steelyard.site.site import Site
from steelyard_host.wire.store import StoreListing

MIB = 1 << 20


def retire_models(site: Site, stored: list[str]) -> None:
    """`stored`: the projects that this host is to store."""
    if not (is_pruning() or live_check.is_enabled()):
        return  # a listing reads every version's files: only for whoever asks
    listing = helper_fact(host, StoreListing, "store-list", site.model_root)
    versions = listing.versions if listing is not None else ()
    services = [service.name for service in site.services_on(host.data.host_name)]
    projects = undeclared_projects(versions, stored, services)
    spare = undeclared_versions(versions, {project: site.models[project].version for project in stored})
    if is_pruning():
        going = (*projects.versions, *spare.versions)
        live = f"{(projects.bytes + spare.bytes) // MIB} MiB"
        versions_removed(name="Remove weights that nobody declares", versions=going, root=site.model_root, live=live)
        return
    _report(site, projects, "model_store.undeclared-model", "a declared model")
    _report(site, spare, "model_store.undeclared-version", "a version that is declared, or the one before it")


def _report(site: Site, left: Undeclared, code: str, declared: str) -> None:
    for word in left.versions:
        model, _, version = word.rpartition("@")
        live = f"in {site.model_root} ({left.bytes // MIB} MiB with all like it)"
        fix = f"`steelyard models rm {model} {version}`, or `steelyard apply --prune`"
        live_check.report(code, f"{site.model_root}/{model}/{version}", declared, live, fix, Severity.WARNING)
    for sentence in left.stays:
        subject = f"{site.model_root}/{sentence.split()[0].replace('@', '/')}"
        fix = "`steelyard models keep --release MODEL VERSION`, then `steelyard apply --prune`"
        live_check.report(code, subject, declared, sentence, fix, Severity.WARNING)
