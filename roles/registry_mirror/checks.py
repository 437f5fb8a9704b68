"""Live checks of registries: each serves, is within its limit, and every client is served by every mirror of its
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyinfra.context import host

from steelyard.api import live_check
from steelyard.api.finding import Severity, thing
from steelyard.modules.facts.disk import Used
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.modules.facts.unit import Unit
from steelyard_host.wire.services import ServiceState

from .measure import measured
from .settings import Settings


def check_registries(wanted: Settings) -> None:
    """Check the registries on the mirror host."""
    if not live_check.is_enabled():
        return
    for name, registry in wanted.registries.items():
        unit = f"steelyard-registry@{name}"
        answer: dict[str, Any] | None = host.get_fact(
            HelperAnswer, words=("registry-probe", f"http://127.0.0.1:{registry.port}", "")
        )
        if answer is None:
            continue
        if answer["error"]:
            live_check.report(
                "registry_mirror.answers",
                f"registry {name}",
                "answers",
                str(answer["error"])[:120],
                f"see `journalctl -u {unit}`",
                depends_on=(thing(host.name, f"{unit}.service"),),
            )
        elif answer["mode"] == "cache-only":
            fix = (
                f"mend the way to {registry.upstream}; it is tried every 20 s at least, and images that are cached are "
                f"served meanwhile"
            )
            live_check.report(
                "registry_mirror.pulls-through",
                f"registry {name}",
                "pulls through",
                "serves its cache only: the upstream does not answer",
                fix,
                Severity.WARNING,
            )
        collector = f"steelyard-registry-gc@{name}.service"
        state = host.get_fact(Unit, unit=collector)
        if state is not None and state.active is ServiceState.FAILED:
            live_check.report(
                "registry_mirror.collected",
                f"collection of registry {name}",
                "removes what no tag leads to, and proves what stays",
                "the last one failed",
                f"see `journalctl -u {collector}`: it names each image that is no longer whole; push those again",
                depends_on=(thing(host.name, f"{unit}.service"),),
            )
        used = host.get_fact(Used, path=f"/var/lib/steelyard-registry/{name}")
        if used is not None and used > registry.limit_gb << 30:
            fix = (
                "remove tags that nobody needs, then `systemctl start steelyard-registry-gc@NAME`; or raise `limit_gb`"
            )
            live_check.report(
                "registry_mirror.within-limit",
                f"size of registry {name}",
                f"at most {registry.limit_gb} GiB",
                f"{used / (1 << 30):.1f} GiB",
                fix.replace("NAME", name),
                Severity.WARNING,
            )


def check_mirrors(wanted: Settings, address: str | None, mirrors: Sequence[str] = ()) -> None:
    """Check the mirrors from a client. A mirror that does not serve is passed over in silence by every client: the
    pull goes to the upstream. `mirrors`: the site's own, by host: what is wrong there is told there.
    """
    if not live_check.is_enabled():
        return
    subjects = {
        f"http://{address}:{ours.port}": ("", f"steelyard-registry@{name}.service", f"registry {name}")
        for name, ours in wanted.registries.items()
    }
    for registry in wanted.mirrored():
        for mirror in measured(wanted.urls_of(registry, address), wanted.probe_of(registry)):
            if mirror.rate is None:
                live = f"does not ({mirror.why[:100]}): pulls of {registry} fall through to the upstream"
                fix = f"see that {mirror.url} is up and has {wanted.probe_of(registry) or 'its images'}, or take it out"
                needs = tuple(thing(name, subject) for subject in subjects.get(mirror.url, ()) for name in mirrors)
                live_check.report(
                    "registry_client.mirror-serves", mirror.url, f"serves {registry}", live, fix, depends_on=needs
                )
