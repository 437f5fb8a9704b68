"""Rollouts in progress: a service with a version on trial is told of, and left alone until that is confirmed or undone.

A task would restart its engine with another version under the rollout's feet.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pyinfra.context import host

from steelyard.api import live_check
from steelyard.api.advice import Hint, advise
from steelyard.api.finding import Severity
from steelyard.modules.facts.trials import OpenTrials
from steelyard.site.site import Service
from steelyard_host.wire.rollout import OpenTrial

LEFT_ALONE = "nothing of the service is changed before it is confirmed or undone"


def not_on_trial(services: Sequence[Service]) -> tuple[Service, ...]:
    """The services of the host in context that no rollout moves now; the others are told of."""
    trials = host.get_fact(OpenTrials)
    for service in services:
        if service.name in trials:
            _tell(service, trials[service.name])
    return tuple(service for service in services if service.name not in trials)


def _tell(service: Service, trial: OpenTrial) -> None:
    """As advice in a plan and an apply, as a finding in drift."""
    said, alias = sentence(trial), service.alias or service.name
    fix = f"wait for its end; go on: `steelyard rollout {alias} --resume`; go back: `steelyard rollback {alias}`"
    advise(Hint("vllm.rollout-in-progress", f"a rollout of {alias} is in progress: {said}; {LEFT_ALONE}", fix))
    declared = f"{service.version}, and no rollout in progress"
    live_check.report(
        "vllm.rollout-in-progress", f"rollout of {alias}", declared, f"{said}; {LEFT_ALONE}", fix, Severity.WARNING
    )


def sentence(trial: OpenTrial) -> str:
    """The version on trial, by whom and since when, and what becomes of it where nobody does anything. Pure."""
    version, before = (folder.rsplit("/", 1)[-1] for folder in (trial.folder, trial.before))
    by = f" by {trial.by}" if trial.by else ""
    end = f"undone at {_time(trial.until)} where nobody confirms it" if trial.until else "its switch has not ended"
    return f"{version} is on trial ({trial.state}) since {_time(trial.at)}{by}, before it {before}; {end}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
