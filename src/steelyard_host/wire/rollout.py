"""A switch of a service to another version: what a host is asked to try, its record, and what it says before."""

from __future__ import annotations

from typing import NamedTuple

from steelyard_host.wire.codec import State, from_json, to_json

TOO_OLD = "its helper is too old for that: `steelyard apply --deploy serve`"
NO_TRIAL = {"state": "none"}  # what `switch-undo` answers where a service was never switched


class Strategy(State):
    """A way of a service to another version."""

    RELOAD = "reload"
    SLEEP_SWAP = "sleep-swap"
    SURGE = "surge"
    SWAP = "swap"


class TrialState(State):
    """The state of a switch: TRYING, then SERVING until somebody confirms it, then CONFIRMED; or UNDOING and UNDONE."""

    TRYING = "trying"
    SERVING = "serving"
    CONFIRMED = "confirmed"
    UNDOING = "undoing"
    UNDONE = "undone"

    @property
    def is_open(self) -> bool:
        """Whether it is neither confirmed nor undone yet."""
        return self not in (TrialState.CONFIRMED, TrialState.UNDONE)

    @property
    def is_settled(self) -> bool:
        """Whether nothing moves on the host any more."""
        return self not in (TrialState.TRYING, TrialState.UNDOING)

    @property
    def serves_new(self) -> bool:
        """Whether the service answers with the version that was to be tried."""
        return self in (TrialState.SERVING, TrialState.CONFIRMED)


class Prompt(NamedTuple):
    """A line of a quality set: `prompt`, or `messages` of a chat, and the regular expression found in the answer."""

    expect: str
    prompt: str | None = None
    messages: tuple[dict[str, str], ...] | None = None
    max_tokens: int = 64

    def as_json(self) -> dict[str, object]:
        """The JSON object, without the kind of prompt that it is not: older helpers take a null for messages."""
        return {name: to_json(item) for name, item in self._asdict().items() if item is not None}


class Cause(NamedTuple):
    """The cause of an engine's failed start or death. `code` is stable; `sentence` and `fix` are safe to show to
    people. `process`: who said it.
    """

    code: str
    sentence: str
    fix: str
    process: str = "systemd"


class TrialRequest(NamedTuple):
    """The input of `switch-try`: service `service` is to serve the version in `folder`, by `strategy`.

    `ready_s`: seconds that an engine may take to its first token; `drain_s`: to finish what it works on; `undo_s`: that
    a trial waits for somebody to confirm it; `by`: who asks, from where.
    """

    run: str
    service: str
    folder: str
    strategy: Strategy
    prompts: tuple[Prompt, ...]
    ready_s: int
    drain_s: int
    undo_s: int
    by: str = ""

    def as_json(self) -> dict[str, object]:
        """The JSON object, without `by` where nobody is named: older helpers know no such key."""
        return {name: to_json(item) for name, item in self._asdict().items() if name != "by" or item}


class Trial(NamedTuple):
    """The record of a service's last switch: the request, and what came of it.

    `before`: folder of the version in service when it began; `boot`: id of the host's boot in which it did; `at`:
    seconds of the epoch. Measured seconds are None until they are known: `drained_s` until requests had ended, `gap_s`
    in which nobody answered, `seconds` from begin to serving.
    """

    run: str
    service: str
    folder: str
    strategy: Strategy
    before: str
    state: TrialState
    prompts: tuple[Prompt, ...] = ()
    ready_s: int = 900
    drain_s: int = 60
    undo_s: int = 300
    why: str = ""
    boot: str = ""
    at: float = 0.0
    drained_s: float | None = None
    gap_s: float | None = None
    seconds: float | None = None
    cause: Cause | None = None
    by: str = ""

    @property
    def until(self) -> float | None:
        """The second of the epoch in which its host undoes it; None where nothing is due yet."""
        if self.state is not TrialState.SERVING or self.seconds is None:
            return None
        return self.at + self.seconds + self.undo_s

    @classmethod
    def begun(cls, request: TrialRequest, before: str, boot: str, at: float) -> Trial:
        """The record of a switch that is about to be tried."""
        return cls(**request._asdict(), before=before, state=TrialState.TRYING, boot=boot, at=at)


class OpenTrial(NamedTuple):
    """A trial as `status` tells of it, that is neither confirmed nor undone.

    `before`: folder that it goes back to; `by`: who asked for it; `at`, `until`: when it began, and is undone where
    nobody confirms it, in seconds of the epoch; `left_s`: seconds until the host undoes it by itself; None where no
    timer of it runs.
    """

    folder: str
    state: TrialState
    run: str
    before: str = ""
    by: str = ""
    at: float = 0.0
    until: float | None = None
    left_s: float | None = None

    @classmethod
    def of(cls, trial: Trial) -> OpenTrial:
        """The part of a trial's record that `status` tells."""
        return cls(trial.folder, trial.state, trial.run, trial.before, trial.by, trial.at, trial.until)


class SwitchState(NamedTuple):
    """The answer of `switch-state`: what a service serves, comes up with, was switched to last, and a switch's cost.

    `serves` is None where it does not run; `no_surge` and `no_sleep` say why a strategy is out of the question, None
    where it is not; `start_s` and `weights_s` are the last start's seconds.
    """

    serves: str | None
    committed: str
    previous: str | None
    switch: Trial | None
    no_surge: str | None = TOO_OLD
    no_sleep: str | None = TOO_OLD
    start_s: float | None = None
    weights_s: float | None = None


def undone(answer: dict[str, object]) -> Trial | None:
    """Read the answer of `switch-undo`: the record; None where the service was never switched. Raises WireError."""
    return None if answer == NO_TRIAL else from_json(Trial, answer)
