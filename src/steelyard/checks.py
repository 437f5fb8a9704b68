"""Live checks: what a role looks at beside its tasks when drift asks, and nothing that apply could mend alone."""

from __future__ import annotations

from collections.abc import Callable

from steelyard.finding import Finding, Severity, Verdict


def checking() -> bool:
    """True where live checks are wanted: they cost facts that a plan does not need."""
    from pyinfra.context import host

    return host.data.get("file_check", None) is not None


def report(code: str, subject: str, declared: str, live: str, fix: str, severity: Severity = Severity.ERROR) -> None:
    """File a finding for the host in context. `code` is `role.check`; values are safe to print."""
    from pyinfra.context import host

    file: Callable[[Finding], None] | None = host.data.get("file_check", None)
    if file is not None:
        name = str(host.data.get("host_name", host.name))
        file(Finding(name, code, subject, declared, live, fix, Verdict.BROKEN, severity))
