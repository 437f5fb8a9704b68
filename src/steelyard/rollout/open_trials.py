"""Trials that another run left open on their hosts: which of them a new run goes on with, and which it undoes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from steelyard.errors import TrialOpen
from steelyard_host.wire.rollout import SwitchState, Trial


class TrialsLeft(NamedTuple):
    """Open trials by host: `adopted` are of the version that is asked for, `undone` go back to it."""

    adopted: Mapping[str, Trial]
    undone: Mapping[str, Trial]


NO_TRIALS = TrialsLeft({}, {})


def open_trial(state: SwitchState) -> Trial | None:
    """The trial that is neither confirmed nor undone; None where there is none."""
    return state.switch if state.switch is not None and state.switch.state.is_open else None


def open_trials_of(alias: str, states: Mapping[str, SwitchState], folder: str) -> TrialsLeft:
    """The open trials, by their fate where all hosts are to serve `folder`. Raises TrialOpen where one has neither to
    do with it.
    """
    trials = {host: trial for host, state in states.items() if (trial := open_trial(state)) is not None}
    for host, trial in trials.items():
        if folder not in (trial.folder, trial.before):
            raise TrialOpen(
                where=host,
                alias=alias,
                version=version_of(trial.folder),
                before=version_of(trial.before),
                state=str(trial.state),
                by=asked_by(trial.by, trial.at),
                until=f" at {time_of(trial.until)}" if trial.until else "",
            )
    return TrialsLeft(
        {host: trial for host, trial in trials.items() if trial.folder == folder},
        {host: trial for host, trial in trials.items() if trial.folder != folder},
    )


def asked_by(by: str, at: float) -> str:
    """The beginning of a trial, and who asked for it, as its host knows them: ` since 2026-01-31T23:59:59Z by anna`."""
    return (f" since {time_of(at)}" if at else "") + (f" by {by}" if by else "")


def time_of(at: float) -> str:
    """Seconds of the epoch as they stand in sentences, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def version_of(folder: str | None) -> str:
    """The version that lies in a folder; `nothing` where no engine runs."""
    return folder.rsplit("/", 1)[1] if folder else "nothing"


def served_on(states: Mapping[str, SwitchState]) -> list[str]:
    """The versions that services serve, or would come up with where they do not run."""
    return [version_of(folder) for state in states.values() if (folder := state.serves or state.committed)]
