"""The output of `steelyard rollout` and `rollback`: the prediction before, what was measured after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from steelyard.errors import Interrupted
from steelyard.rollout.open_trials import asked_by, open_trial, time_of, version_of
from steelyard_host.wire.rollout import Strategy, SwitchState, Trial

from .tables import made_table

if TYPE_CHECKING:
    from steelyard.interrupts.signals import Interruption
    from steelyard.rollout.prepared import PreparedRollout
    from steelyard.rollout.run import RolloutOutcome
    from steelyard.rollout.strategy import Prediction

    from .screen import Screen


class RolloutRow(NamedTuple):
    """The result of one host; fields are keys of its JSON object. Seconds are None where nothing was measured."""

    host: str
    serves: str
    switch: str
    strategy: str | None = None
    drained_s: float | None = None
    gap_s: float | None = None
    seconds: float | None = None
    why: str = ""

    @classmethod
    def of(cls, host: str, state: SwitchState, trial: Trial | None) -> RolloutRow:
        """Return the row of a host, by its trial, or by its state before where it tried nothing."""
        if trial is None:
            return cls(host, version_of(state.serves), "none")
        served = trial.folder if trial.state.serves_new else trial.before
        return cls(
            host,
            version_of(served),
            str(trial.state),
            str(trial.strategy),
            trial.drained_s,
            trial.gap_s,
            trial.seconds,
            trial.why,
        )


def show_prediction(screen: Screen, prepared: PreparedRollout) -> None:
    """One line a host, in the order in which they switch."""
    predictions = prepared.predictions
    if screen.json:
        return
    for name, trial in prepared.open_trials.undone.items():
        screen.note(f"{name}: {version_of(trial.folder)} is on trial{asked_by(trial.by, trial.at)}; it is undone first")
    for name, trial in prepared.open_trials.adopted.items():
        screen.note(
            f"{name}: {version_of(trial.folder)} is on trial{asked_by(trial.by, trial.at)}; it goes on with that"
        )
    if not predictions:
        return
    table = made_table("HOST", "SERVES", "TO", "BY", "ABOUT", "MEANWHILE")
    for name, prediction in predictions.items():
        about = f"{prediction.gap_s:.1f} s" if prediction.gap_s is not None else "unknown"
        meanwhile = _meanwhile(prediction, bool(prepared.request.prompts))
        serves = version_of(prepared.states[name].serves)
        table.add_row(name, serves, prepared.version, str(prediction.strategy), about, meanwhile)
    screen.tables(table)
    screen.note(_memory({prediction.strategy for prediction in predictions.values()}))


def _meanwhile(prediction: Prediction, prompts: bool) -> str:
    """Who answers while the host switches. `prompts`: whether the new version has to answer some first."""
    if prediction.strategy is Strategy.SURGE:
        return "a second engine answers"
    if prediction.others:
        return f"{prediction.others} other services answer"
    in_engine = prediction.strategy is Strategy.RELOAD and not prompts
    return f"requests wait {'in the engine' if in_engine else 'at the gateway'}"


def _memory(strategies: set[Strategy]) -> str:
    if Strategy.SURGE in strategies:
        return "memory: as much again as each service has, while it is moved"
    if Strategy.SLEEP_SWAP in strategies:
        return (
            "memory: of the host as much again as each service has, of its GPUs 4 GiB for the engine that "
            "sleeps, until it is confirmed"
        )
    return "memory: none beside what each service has"


def show_outcome(
    screen: Screen, prepared: PreparedRollout, outcome: RolloutOutcome | None, command: str, again: str = ""
) -> None:
    """One line a host, with what was measured; below it what failed, and what is the operator's to do.

    `outcome`: None where every service served the version already; `again`: the call that goes on with one that was cut
    short.
    """
    rows = rows_of(prepared, outcome)
    if screen.json:
        screen.document(command, document(prepared, outcome, again))
        return
    if outcome is None:
        screen.out(f"{prepared.alias} is served by version {prepared.version} on {len(rows)} hosts already")
        screen.failures()
        return
    table = made_table("HOST", "SERVES", "SWITCH", "BY", "DRAINED IN", "GAP", "WHOLE")
    for row in rows:
        measured = (_seconds(seconds) for seconds in (row.drained_s, row.gap_s, row.seconds))
        table.add_row(row.host, row.serves, row.switch, row.strategy or "-", *measured)
    screen.tables(table)
    for error in outcome.errors.values():
        screen.error(error)
    for name in sorted(outcome.left - set(outcome.states)):
        screen.out(
            f"{name}: it does not answer, so nobody knows yet what it serves; it undoes by itself what was not "
            f"confirmed: `steelyard status -l {name}`"
        )
    if outcome.cut_short is not None:
        screen.lines(_left_as(prepared, outcome))
        screen.error(_interrupted(prepared, outcome.cut_short, command, again))
    elif prepared.declared not in {row.serves for row in rows}:
        screen.out(f"models.yml declares {prepared.declared}: set `version` to what is served, or drift will name it")
    screen.failures()


def _left_as(prepared: PreparedRollout, outcome: RolloutOutcome) -> list[str]:
    """A sentence for each host that answered after a signal had stopped the run: what it serves, by its own word."""
    lines = []
    for name in prepared.states:
        state = outcome.states.get(name)
        if state is None:
            continue
        trial, serves = open_trial(state), version_of(state.serves)
        if trial is None:
            lines.append(f"{name}: serves {serves}, and comes up with {version_of(state.committed)}")
            continue
        until = f" at {time_of(trial.until)}" if trial.until is not None else ""
        back = f"it goes back to {version_of(trial.before)} by itself{until} where nobody confirms it"
        lines.append(f"{name}: serves {serves}, and {version_of(trial.folder)} is on trial ({trial.state}): {back}")
    return lines


def _interrupted(prepared: PreparedRollout, first: Interruption, command: str, again: str) -> Interrupted:
    state = f"nothing further was begun on the way of `{prepared.alias}` to {prepared.version}; above is what is where"
    before = {version_of(served.committed) for served in prepared.states.values()} - {prepared.version}
    back = "".join(f"; back: `steelyard rollback {prepared.alias} {version}`" for version in before if len(before) == 1)
    then = f"go on: `{again}`{back}"
    return Interrupted(where=f"steelyard {command}", signal=first.title, state=state, then=then)


def rows_of(prepared: PreparedRollout, outcome: RolloutOutcome | None) -> list[RolloutRow]:
    """A row for each host, in the order of the inventory: by its last word where a signal stopped the run."""
    trials = outcome.records if outcome is not None else {}
    rows = [RolloutRow.of(name, state, trials.get(name)) for name, state in prepared.states.items()]
    states = outcome.states if outcome is not None else {}
    return [row._replace(serves=version_of(states[row.host].serves)) if row.host in states else row for row in rows]


def document(prepared: PreparedRollout, outcome: RolloutOutcome | None, again: str = "") -> dict[str, Any]:
    """The JSON document, as in the JSON Schema."""
    cut_short = outcome.cut_short if outcome is not None else None
    return {
        "alias": prepared.alias,
        "to": prepared.version,
        "rolled_back": outcome is not None and outcome.rolled_back,
        "hosts": [row._asdict() for row in rows_of(prepared, outcome)],
        "unknown": sorted(outcome.left) if outcome is not None else [],
        "errors": [error.as_json() for error in outcome.errors.values()] if outcome is not None else [],
        "interrupted": {"signal": cut_short.signal.name, "again": again} if cut_short is not None else None,
    }


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
