"""The keys that gateways show to the front of a host, one for each of its services, and the change to others.

The front knows keys by their hashes: those of the declared one, and those of before until every gateway shows the
declared ones. Engines ask for none, and are shown none: nobody but the host's proxies and root reaches their sockets,
so a change of the key restarts nothing.
"""

from __future__ import annotations

from typing import TypedDict

from steelyard.modules.operations.path import file
from steelyard.modules.operations.proxy_keys import key_before_kept
from steelyard.roles.base.settings import Settings as BaseSettings
from steelyard.serving.refusals import HttpRefusal, error_lines, proxy_errors
from steelyard.serving.service_keys import accepted_lines, cut
from steelyard.site.site import Service
from steelyard_host import paths
from steelyard_host.proxy.front import KEY_PATH

from .settings import Settings

UNIT = "steelyard-front.service"
SERVER_S = 900  # the front's `timeout server`
NO_KEY = HttpRefusal(401, "this front accepts the key of its gateway and no other: ask there", "invalid_request_error")


class KeyValues(TypedDict):
    """Values of the front's template about keys and refusals."""

    with_key: bool
    key: str
    before: str
    key_path: str
    no_key: str
    errors: list[str]


def key_lines(wanted: Settings, services: tuple[Service, ...]) -> str:
    """The map's lines for the declared keys; where none is declared the hashes are those of an empty text."""
    site_key = wanted.api_key.get_secret_value() if wanted.api_key else ""
    return accepted_lines(site_key, tuple(service.name for service in services))


def keys_cut(wanted: Settings, services: tuple[Service, ...]) -> tuple[str, ...]:
    """Return the declared keys as they are told from others: `SERVICE:DIGITS`."""
    return cut(key_lines(wanted, services))


def key_values(wanted: Settings) -> KeyValues:
    """Values for the template."""
    unavailable = "no engine of this host is ready: the gateway asks again, or another host"
    refusals = proxy_errors("front", f"`journalctl -u {UNIT}`", unavailable, SERVER_S)
    return KeyValues(
        with_key=wanted.api_key is not None,
        key=paths.PROXY_KEY,
        before=paths.PROXY_KEYS_BEFORE,
        key_path=KEY_PATH,
        no_key=NO_KEY.answer,
        errors=error_lines(refusals),
    )


def write_keys(wanted: Settings, services: tuple[Service, ...], base: BaseSettings) -> None:
    """Write the declared keys beside those that are accepted already; the front loads both."""
    key_before_kept(
        name="Go on accepting the key of before",
        declared=paths.PROXY_KEY,
        before=paths.PROXY_KEYS_BEFORE,
        older=paths.KEYS,
        wanted=keys_cut(wanted, services),
        group=base.front_user,
    )
    file(
        name="Write the key that the front accepts",
        path=paths.PROXY_KEY,
        content=key_lines(wanted, services),
        mode="0640",
        group=base.front_user,
        secret=True,
    )
