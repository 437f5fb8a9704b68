"""Keys that gateways show to fronts: one for each service, derived from the key that the site declares. Pure.

Who learns one, a host or somebody on the way to it, cannot make another of it. They change with the site's key, and
with nothing else: the services of an alias have the same one on every host.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from steelyard.serving.key_ends import NEVER

PURPOSE = "steelyard service "
DIGITS = 12  # of a hash: enough to tell two keys apart


def service_key(site_key: str, service: str) -> str:
    """The key of a service. None is declared where the site's is empty: then none is asked for.

    >>> service_key("sk-site", "chat") == service_key("sk-site", "embed")
    False
    """
    if not site_key:
        return ""
    mac = hmac.new(site_key.encode(), (PURPOSE + service).encode(), hashlib.sha256).digest()
    return "sk-" + base64.urlsafe_b64encode(mac).decode().rstrip("=")


def accepted_lines(site_key: str, services: tuple[str, ...]) -> str:
    """Lines of the map of what a front accepts, `SERVICE:HASH END`."""
    hashes = {name: hashlib.sha256(service_key(site_key, name).encode()).hexdigest() for name in sorted(services)}
    return "".join(f"{name}:{sha256} {NEVER}\n" for name, sha256 in hashes.items())


def cut(lines: str) -> tuple[str, ...]:
    """Return the keys of such lines as `SERVICE:DIGITS`, which tells them apart and may leave their host."""
    keys = [line.split(" ", 1)[0].rpartition(":") for line in lines.splitlines()]
    return tuple(f"{service}{colon}{sha256[:DIGITS]}" for service, colon, sha256 in keys)


def others(live: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Keys of `live`, cut as by `cut`, that services of `wanted` do not have any more.

    That of a service which is not among them is nobody's; one without a service, as of a release that had one key for
    all, is everybody's.
    """
    services = {key.rpartition(":")[0] for key in wanted}
    return tuple(key for key in live if key not in wanted and key.rpartition(":")[0] in {*services, ""})
