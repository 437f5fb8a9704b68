"""What `steelyard rollout` and `rollback` say: the prediction before, what was measured after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .tables import made_table

if TYPE_CHECKING:
    from steelyard.cli.rolling import Asked
    from steelyard.rollout.run import Outcome
    from steelyard.rollout.strategy import Prediction

    from .screen import Screen


def _version(folder: str | None) -> str:
    return folder.rsplit("/", 1)[1] if folder else "nothing"


def show_prediction(
    screen: Screen,
    alias: str,
    version: str,
    predictions: dict[str, Prediction],
    states: dict[str, dict[str, Any]],
    asked: Asked,
) -> None:
    """One line a host, in the order in which they switch."""
    if screen.json or not predictions:
        return
    table = made_table("HOST", "SERVES", "TO", "BY", "ABOUT", "MEANWHILE")
    for name, prediction in predictions.items():
        about = f"{prediction.gap_s:.1f} s" if prediction.gap_s is not None else "unknown"
        if prediction.strategy == "surge":
            meanwhile = "a second engine answers"
        elif prediction.others:
            meanwhile = f"{prediction.others} other services answer"
        else:
            meanwhile = "requests wait " + (
                "in the engine" if prediction.strategy == "reload" and not asked.prompts else "at the gateway"
            )
        table.add_row(name, _version(states[name]["serves"]), version, prediction.strategy, about, meanwhile)
    screen.tables(table)
    screen.note(_memory({prediction.strategy for prediction in predictions.values()}))


def _memory(strategies: set[str]) -> str:
    if "surge" in strategies:
        return "memory: as much again as each service has, while it is moved"
    if "sleep-swap" in strategies:
        return "memory: of the host as much again as each service has, of its GPUs 4 GiB for the engine that sleeps, until it is confirmed"
    return "memory: none beside what each service has"


def show_outcome(
    screen: Screen, alias: str, version: str, outcome: Outcome | None, states: dict[str, dict[str, Any]],
    declared: str | None = None, command: str = "rollout",
) -> None:  # fmt: skip
    """One line a host, with what was measured; below it what failed, and what is the operator's to do."""
    records = outcome.records if outcome else {}
    errors = outcome.errors if outcome else {}
    if screen.json:
        screen.document(command, document(alias, version, outcome, states))
        return
    if outcome is None:
        screen.out(f"{alias} is served by version {version} on {len(states)} hosts already")
    else:
        table = made_table("HOST", "SERVES", "SWITCH", "BY", "DRAINED IN", "GAP", "WHOLE")
        for name in states:
            row = _row(name, states[name], records.get(name))
            table.add_row(name, row["serves"], row["switch"], row["strategy"] or "-", *(_seconds(row[key]) for key in ("drained_s", "gap_s", "seconds")))  # fmt: skip
        screen.tables(table)
        for error in errors.values():
            screen.error(error)
        for name in sorted(outcome.left):
            screen.out(
                f"{name}: nobody knows yet what it serves; it undoes by itself what was not confirmed: `steelyard status -l {name}`"
            )
    serving = {_row(name, states[name], records.get(name))["serves"] for name in states}
    meant = declared or version
    if outcome is not None and (declared is not None or outcome.rolled_back) and meant not in serving:
        screen.out(f"models.yml declares {meant}: set `version` to what is served, or drift will name it")
    screen.failures()


def document(alias: str, version: str, outcome: Outcome | None, states: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """As in the JSON Schema."""
    records = outcome.records if outcome else {}
    return {
        "alias": alias, "to": version, "rolled_back": bool(outcome and outcome.rolled_back),
        "hosts": [_row(name, states[name], records.get(name)) for name in states],
        "unknown": sorted(outcome.left) if outcome else [],
        "errors": [error.as_json() for error in outcome.errors.values()] if outcome else [],
    }  # fmt: skip


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _row(name: str, state: dict[str, Any], record: dict[str, Any] | None) -> dict[str, Any]:
    """What a host serves now, as far as it said."""
    if record is None:
        return {"host": name, "serves": _version(state["serves"]), "switch": "none", "strategy": None, "drained_s": None,
                "gap_s": None, "seconds": None, "why": ""}  # fmt: skip
    there = record["state"] in ("confirmed", "serving")
    return {
        "host": name, "serves": _version(record["folder"] if there else record["before"]), "switch": record["state"],
        "strategy": record["strategy"], "drained_s": record.get("drained_s"), "gap_s": record.get("gap_s"),
        "seconds": record.get("seconds"), "why": record["why"],
    }  # fmt: skip
