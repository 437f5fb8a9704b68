"""A live check without a host: what it is told, and what it files. Copy this shape for a check of your own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from steelyard.api import live_check
from steelyard.api.finding import Finding, Severity, Verdict
from steelyard.modules.facts.docker import GpuContainer
from steelyard.roles.nvidia_toolkit import checks

CONTAINERS = (
    GpuContainer("healthy", at_risk=False, has_gpus=True),
    GpuContainer("next", at_risk=True, has_gpus=True),
    GpuContainer("lost", at_risk=True, has_gpus=False),
)


@pytest.fixture
def filed(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """Findings of a drift on host gpu-1 whose containers are those above."""
    findings: list[Finding] = []
    host = SimpleNamespace(
        name="gpu-1", data={"file_check": findings.append}, get_fact=lambda fact, **asked: CONTAINERS
    )
    monkeypatch.setattr("pyinfra.context.host", host)  # for what a check reports through
    monkeypatch.setattr(checks, "host", host)
    return findings


def test_a_container_that_lost_its_gpus_or_will_is_a_finding_and_another_is_none(filed: list[Finding]) -> None:
    checks.check_containers()
    assert [(found.code, found.subject, found.severity) for found in filed] == [
        ("nvidia_toolkit.container-keeps-gpus", "container next", Severity.WARNING),
        ("nvidia_toolkit.container-has-gpus", "container lost", Severity.ERROR),
    ]
    assert {found.host for found in filed} == {"gpu-1"}
    assert {found.verdict for found in filed} == {Verdict.BROKEN}, "no apply mends it alone"
    assert "docker run --device nvidia.com/gpu=" in filed[1].fix


def test_a_plan_asks_nothing_of_it(filed: list[Finding], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without live checks the fact is not asked for: a plan costs no more than its tasks do."""
    monkeypatch.setattr(live_check, "is_enabled", lambda: False)
    monkeypatch.setattr(checks.host, "get_fact", None)
    checks.check_containers()
    assert filed == []
