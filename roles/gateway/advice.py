"""Advice of a plan where hosts of services are changed, and who has to know of it is not among the selected."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from steelyard.api.advice import Advice
from steelyard.site.site import Site

# what changes with the services of a host and their ports, and with the key that the gateway shows them
KEY = "vllm.write-the-key-that-the-front-accepts"
TELLING = ("vllm.configure-the-front", KEY, "vllm.stop-what-is-declared-no-more")
SHOWN = "gateway.write-the-engines-key"


def left_out(site: Site, limit: str, names: Collection[str], changed: Mapping[str, Collection[str]]) -> list[Advice]:
    """`names`: the selected hosts; `changed`: codes of the tasks of each. One for each gateway that was not selected,
    and for the host that registers models where aliases are served by selected hosts alone.
    """
    hosts = [name for name in names if set(TELLING) & set(changed.get(name, ()))]
    if not hosts:
        return fronts_left_out(site, limit, names, changed)
    fix = f"steelyard apply -l '{limit}' --with-gateway"
    advice = [
        Advice(
            gateway,
            "gateway.left-out",
            f"the gateway ({gateway}) is not part of -l {limit}, and has to know of what changes on {', '.join(hosts)}",
            fix,
        )
        for gateway in site.groups.get("gateway", ())
        if gateway not in names
    ]
    registers = site.groups.get("dify", ())[:1]
    aliases = [
        alias
        for alias, services in site.aliases().items()
        if {service.host for service in services} <= set(hosts) and site.models[services[0].model].dify is not None
    ]
    for name in registers:
        if aliases and name not in names:
            text = f"the host that registers models in Dify ({name}) is not part of -l {limit}: {', '.join(aliases)}"
            advice.append(Advice(name, "dify.left-out", text, fix))
    return advice


def fronts_left_out(
    site: Site, limit: str, names: Collection[str], changed: Mapping[str, Collection[str]]
) -> list[Advice]:
    """One for each gateway that is to show another key, where hosts whose fronts have to accept it first were not
    selected. Applying it all the same does no harm: it asks them, and stays with the key of before.
    """
    serving = {service.host for services in site.aliases().values() for service in services}
    hosts = sorted(serving - set(names))
    if not hosts:
        return []
    return [
        Advice(
            gateway,
            "gateway.fronts-left-out",
            f"{', '.join(hosts)} {'is' if len(hosts) == 1 else 'are'} not part of -l {limit}, and must accept another "
            f"key of the engines before {gateway} shows it",
            f"steelyard apply -l '{','.join([*hosts, limit])}'",
        )
        for gateway in site.groups.get("gateway", ())
        if SHOWN in changed.get(gateway, ())
    ]
