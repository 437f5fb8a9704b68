"""Clears a host that leaves the site. Files of packages stay, and that is told."""

from __future__ import annotations

from pyinfra.context import host

from steelyard.api.settings import settings_from
from steelyard.modules.operations.removal import host_cleared
from steelyard.site.site import Site
from steelyard_host import paths

from .settings import Settings

FOLDERS = (
    paths.CONFIGURATION,
    paths.STATE,
    paths.CACHES,
    "/opt/steelyard",
    paths.RUN,
    *paths.OF_SERVICES,
    "/run/steelyard-front",
    "/run/steelyard-lazy",
)
FILES = (
    "/etc/security/limits.d/50-steelyard.conf",
    "/etc/apt/apt.conf.d/01steelyard-mirror",
    "/etc/containers/registries.conf.d/50-steelyard.conf",
)
OWN = ("/etc/pip.conf",)
STAYS = "packages that were installed (HAProxy, Docker, drivers) with what pins and configures them"


def clear(site: Site) -> None:
    """Weights go too: the model root is this site's own."""
    wanted = settings_from(Settings, host.data)
    folders = (*FOLDERS, site.model_root, paths.LIBRARIES)
    # the front is a member of the engines' group, so it goes first
    accounts = (wanted.front_user, wanted.engine_user)
    host_cleared(name="Clear the host", folders=folders, files=FILES, own=OWN, accounts=accounts, homes=paths.CACHES)
