"""Live checks of registries: each serves, is within its limit, and every client is served by every mirror of its own."""

from __future__ import annotations

from typing import Any

from pyinfra.context import host

from steelyard.checks import checking, report
from steelyard.finding import Severity
from steelyard.modules.facts.disk import Used
from steelyard.modules.facts.helper import HelperAnswer

from .measure import measured
from .settings import Settings


def check_registries(wanted: Settings) -> None:
    """On the mirror host."""
    if not checking():
        return
    for name, registry in wanted.registries.items():
        unit = f"steelyard-registry@{name}"
        answer: dict[str, Any] | None = host.get_fact(
            HelperAnswer, words=("registry-probe", f"http://127.0.0.1:{registry.port}", "")
        )
        if answer is None:
            continue
        if answer["error"]:
            report(
                "registry_mirror.answers",
                f"registry {name}",
                "answers",
                str(answer["error"])[:120],
                f"see `journalctl -u {unit}`",
            )
        elif answer["mode"] == "cache-only":
            fix = (
                f"mend the way to {registry.upstream}; it is tried every 20 s, and images that are cached are served meanwhile"
            )
            report("registry_mirror.pulls-through", f"registry {name}", "pulls through", "serves its cache only: the upstream does not answer", fix,
                   Severity.WARNING)  # fmt: skip
        used = host.get_fact(Used, path=f"/var/lib/steelyard-registry/{name}")
        if used is not None and used > registry.limit_gb << 30:
            fix = "remove tags that nobody needs, then `systemctl start steelyard-registry-gc@NAME`; or raise `limit_gb`"
            report("registry_mirror.within-limit", f"size of registry {name}", f"at most {registry.limit_gb} GiB",
                   f"{used / (1 << 30):.1f} GiB", fix.replace("NAME", name), Severity.WARNING)  # fmt: skip


def check_mirrors(wanted: Settings, address: str | None) -> None:
    """On clients. A mirror that does not serve is passed over in silence by every client: the pull goes to the upstream."""
    if not checking():
        return
    for registry in wanted.mirrored():
        for mirror in measured(wanted.urls_of(registry, address), wanted.probe_of(registry)):
            if mirror.rate is None:
                live = f"does not ({mirror.why[:100]}): pulls of {registry} fall through to the upstream"
                fix = f"see that {mirror.url} is up and has {wanted.probe_of(registry) or 'its images'}, or take it out"
                report("registry_client.mirror-serves", mirror.url, f"serves {registry}", live, fix)
