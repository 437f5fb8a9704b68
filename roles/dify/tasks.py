"""Brings Dify to the declared release, administrator, plugins and models; repaired where somebody changed them."""

from __future__ import annotations

import json

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.api import live_check
from steelyard.api.finding import Severity
from steelyard.api.settings import settings_from
from steelyard.artifacts.helper import HELPER, helper_bytes
from steelyard.dify.client import DifyAccess
from steelyard.dify.desired_state import DesiredState
from steelyard.dify.plugin_package import Package, read_package
from steelyard.dify.reconcile import models_by_hand
from steelyard.errors import SteelyardError
from steelyard.modules.operations.dify import (
    MARK_KEY,
    MARKS,
    client_of,
    mark_key,
    owned,
    plugins_installed,
    registered,
    unregistered,
    used_kept,
    vector_marks,
)
from steelyard.modules.operations.dify_stack import project_file
from steelyard.modules.operations.path import file
from steelyard.roles.gateway.settings import Settings as GatewaySettings
from steelyard.roles.registry_mirror.settings import Settings as MirrorSettings
from steelyard.site.site import Site
from steelyard_host.dify.ladder import STEPS

from .checks import check_stack
from .install import install, prepare, wanted_release
from .registration import access_of, administrator, embedders, own_settings, wanted_models, wanted_of
from .settings import Settings
from .vector_steps import steps_text


@deploy("dify")
def dify() -> None:
    """Bring Dify to the first host of group `dify`; everything is compared and mended over one login."""
    site: Site = host.data.site
    wanted = own_settings(host.data)
    names = site.groups.get("dify", ())
    if not names or host.data.host_name != names[0]:
        return
    if wanted.release is not None:
        release = wanted_release(wanted, wanted.release, site, settings_from(MirrorSettings, host.data))
        install(release)
        if live_check.is_enabled():
            check_stack(wanted)
    if wanted.url is not None:
        _registration(wanted, site)


@deploy("dify")
def withdrawn() -> None:
    """Take models that are declared no more out of Dify, before the gateway does."""
    site: Site = host.data.site
    wanted = own_settings(host.data)
    names = site.groups.get("dify", ())
    if not names or host.data.host_name != names[0] or wanted.url is None:
        return
    access, everything, packages = _wanted(wanted, site)
    unregistered(name="Take models out of Dify", access=access, wanted=everything, packages=packages)


@deploy("dify")
def staged() -> None:
    """The declared release in a folder beside the one that runs, for `steelyard dify upgrade`."""
    site: Site = host.data.site
    wanted = own_settings(host.data)
    if wanted.release is not None and host.data.host_name == site.groups["dify"][0]:
        file(name="Bring the helper that lays it out", path=HELPER, content=helper_bytes(), mode="0755")
        mirror, beside = settings_from(MirrorSettings, host.data), f"{wanted.folder}.next"
        steps = steps_text(wanted.release, site, mirror)
        prepare(wanted_release(wanted, wanted.release, site, mirror), beside, staging=True)
        project_file(name="Say the way of the vectors", folder=beside, name_below=STEPS, content=steps.encode())


def _wanted(wanted: Settings, site: Site) -> tuple[DifyAccess, DesiredState, tuple[Package, ...]]:
    """How to log in, all that Dify shall have, and the packages of its plugins."""
    access = access_of(wanted)
    models = wanted_models(site, wanted, settings_from(GatewaySettings, host.data))
    everything = wanted_of(wanted, models, mark_key(access))
    packages = tuple(read_package(plugin.package, plugin.sha256) for plugin in wanted.plugins)
    return access, everything, packages


def _registration(wanted: Settings, site: Site) -> None:
    admin = administrator(wanted)
    access, everything, packages = _wanted(wanted, site)
    if admin is not None:
        installing = wanted.release is not None
        owned(name="Own Dify", access=access, admin=admin, workspace=wanted.workspace_name, installing=installing)
    if packages:
        plugins_installed(name="Install the plugins", access=access, packages=packages)
    registered(name="Register the models", access=access, wanted=everything, packages=packages)
    marks = {MARK_KEY: everything.mark_key, **everything.marks()}
    marks |= {package.mark: package.sha256 for package in packages}
    marks |= vector_marks(access, wanted.provider, embedders(site))
    text = json.dumps(marks, indent=1, sort_keys=True) + "\n"
    file(name="Keep the marks of the keys", path=MARKS, content=text, mode="0600", secret=True)
    used_kept(name="Keep the models that are used", access=access, wanted=everything, packages=packages)
    if live_check.is_enabled() and wanted.by_hand == "report":
        _report_models_by_hand(access, everything)


def _report_models_by_hand(access: DifyAccess, wanted: DesiredState) -> None:
    """Somebody's own models are theirs: told, and never a reason to change anything."""
    try:
        by_hand = models_by_hand(client_of(access), wanted)
    except SteelyardError:
        return  # the tasks have said so
    for name in by_hand:
        live, fix = "registered by hand", "declare it, or leave it; `dify.prune: true` removes it"
        live_check.report("dify.models-by-hand", f"Dify {name}", "not declared", live, fix, Severity.WARNING)
