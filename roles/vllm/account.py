"""The account of a service: its engine alone runs as it, so that no engine of a host can end or read another.

The proxies of a host, which no model reaches, keep the account of `base.engine_user`. Its group is let to the sockets
by an access list of each engine's folder: engines themselves are in no common group.
"""

from __future__ import annotations

from steelyard.modules.operations.account import own_account
from steelyard.modules.operations.path import file
from steelyard.site.site import Service
from steelyard_host import paths
from steelyard_host.engine.service import ACCOUNT_DROP_IN, account_of


def account_drop_in(service: Service) -> str:
    """The path of the unit's drop-in that names the account."""
    return f"/etc/systemd/system/{service.unit}.d/{ACCOUNT_DROP_IN}"


def write_account(service: Service) -> None:
    """Make the account, and have the unit run as it from its next start on.

    Systemd gives it then what the engine of before wrote: where that was another account's, too.
    """
    user = account_of(service.name)
    own_account(name="Make the account of the service", user=user, home=paths.cache_of(service.name))
    lines = ("[Service]", f"User={user}", f"Group={user}", "UnsetEnvironment=")
    text = "\n".join(("# steelyard: role vllm. No other engine runs as it.", *lines, ""))
    file(name="Have the engine run as it", path=account_drop_in(service), content=text)
