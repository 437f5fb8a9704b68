"""Brings a host to service accounts, folders, limits and the host helper: what every other role stands on."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.api.leaving import is_leaving
from steelyard.api.settings import settings_from
from steelyard.artifacts.helper import HELPER, helper_bytes
from steelyard.modules.operations.account import system_account
from steelyard.modules.operations.path import file, folder
from steelyard_host import paths

from .checks import check_hosts
from .clear import clear
from .settings import Settings


@deploy("base")
def base() -> None:
    """Accounts first: folders belong to them."""
    wanted = settings_from(Settings, host.data)
    system_account(name="Make the engine account", user=wanted.engine_user, home=paths.CACHES)
    system_account(name="Make the front account", user=wanted.front_user, groups=(wanted.engine_user,))
    folder(name="Make the library folder", path=paths.LIBRARIES)
    folder(name="Make the configuration folder", path=paths.CONFIGURATION)
    folder(name="Make the folder of services", path=paths.SERVICES, mode="0711")  # each reads its own
    folder(name="Make the folder of keys", path=paths.KEYS, mode="0700")
    folder(name="Make the engine folder", path=paths.ENGINES)
    file(
        name="Set the limit of open files",
        path="/etc/security/limits.d/50-steelyard.conf",
        content=f"* hard nofile {wanted.open_files}\n",
    )
    file(name="Install the host helper", path=HELPER, content=helper_bytes(), mode="0755")
    check_hosts(host.data.site)


@deploy("base")
def cleared() -> None:
    """Clear a host that leaves the site of everything that is ours."""
    if is_leaving():
        clear(host.data.site)
