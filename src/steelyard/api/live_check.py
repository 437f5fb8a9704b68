"""Live checks: what a role looks at beside its tasks when drift asks, and nothing that apply could mend alone."""

from __future__ import annotations

from collections.abc import Callable

from steelyard.api.finding import Finding, Severity, Verdict


def is_enabled() -> bool:
    """True where somebody asked for live checks (drift does): they cost facts that a plan does not need."""
    from pyinfra.context import host

    return host.data.get("file_check", None) is not None


def report(
    code: str,
    subject: str,
    declared: str,
    live: str,
    fix: str,
    severity: Severity = Severity.ERROR,
    *,
    depends_on: tuple[str, ...] = (),
    explains: tuple[str, ...] = (),
) -> None:
    """File a finding for the host in context. `code` is `role.check`; values are safe to print.

    `depends_on`, `explains`: things, as of `Finding`.
    """
    from pyinfra.context import host

    file: Callable[[Finding], None] | None = host.data.get("file_check", None)
    if file is not None:
        name = str(host.data.get("host_name", host.name))
        finding = Finding(name, code, subject, declared, live, fix, Verdict.BROKEN, severity)
        file(finding._replace(depends_on=depends_on, explains=explains))
