"""Brings a host to service accounts, folders, limits and the host helper: what every other role stands on."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.host_helper import HELPER, helper_bytes
from steelyard.modules.operations.account import system_account
from steelyard.modules.operations.path import content, folder
from steelyard.settings import settings_from

from .settings import Settings


@deploy("base")
def base() -> None:
    """Accounts first: folders belong to them."""
    wanted = settings_from(Settings, host.data)
    system_account(name="Make the engine account", user=wanted.engine_user, home="/var/cache/steelyard")
    system_account(name="Make the front account", user=wanted.front_user, groups=(wanted.engine_user,))
    folder(name="Make the library folder", path="/usr/lib/steelyard")
    folder(name="Make the configuration folder", path="/etc/steelyard")
    folder(name="Make the folder of services", path="/etc/steelyard/services", mode="0750", group=wanted.engine_user)
    folder(name="Make the folder of keys", path="/etc/steelyard/keys", mode="0700")
    folder(name="Make the engine folder", path="/opt/steelyard/engines")
    content(
        name="Set the limit of open files",
        path="/etc/security/limits.d/50-steelyard.conf",
        content=f"* hard nofile {wanted.open_files}\n",
    )
    content(name="Install the host helper", path=HELPER, content=helper_bytes(), mode="0755")
