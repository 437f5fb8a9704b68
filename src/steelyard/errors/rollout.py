"""Errors of a rollout, before it begins and after."""

from __future__ import annotations

from .base import Exit, SteelyardError


class AliasUnknown(SteelyardError):
    """A command names an alias that nothing serves."""

    sentence = "no service answers to `{alias}`; aliases: {allowed}"
    fix = "did you mean `{nearest}`?"
    sample = {"where": "inventories/lab", "alias": "tyni", "nearest": "tiny", "allowed": "tiny"}
    alias: str
    nearest: str
    allowed: str


class VersionNotDeclared(SteelyardError):
    """A rollout names another version than models.yml declares."""

    sentence = "`{alias}` is declared to be version {declared}, not {version}"
    fix = (
        "set `version: {version}` and its `source` for {model} there, then run the rollout: what is declared "
        "is what is rolled out"
    )
    sample = {"where": "models.yml:5", "alias": "tiny", "model": "llm/tiny", "version": "v2", "declared": "v1"}
    alias: str
    model: str
    version: str
    declared: str


class StrategyUnknown(SteelyardError):
    """--strategy names none of the strategies. Nothing changed."""

    sentence = "the rollout is not begun: there is no strategy `{strategy}`"
    fix = "give one of {allowed}"
    sample = {"where": "--strategy", "strategy": "quickly", "allowed": "auto, reload, sleep-swap, surge, swap"}
    strategy: str
    allowed: str


class CanaryShareWrong(SteelyardError):
    """--canary is no share that a host can have of its alias's requests. Nothing changed."""

    sentence = "the rollout is not begun: `{share}` is no share of the requests"
    fix = "give a percentage from 1% to 50%"
    sample = {"where": "--canary", "share": "80%"}
    share: str


class CanaryAlone(SteelyardError):
    """--canary for an alias that one service answers. Nothing changed."""

    sentence = "the rollout is not begun: its one service gets every request, and a canary gets a share"
    fix = "leave `--canary` out: `--watch` looks at it before it is confirmed; or serve the alias on a second host"
    sample = {"where": "tiny"}


class VariantNotSwitched(SteelyardError):
    """A service loads a sharded variant of its model, which a rollout does not make. Nothing changed."""

    sentence = "the rollout is not begun: it loads a sharded variant, which is made before it is served"
    fix = (
        "`steelyard models push`, `models shard`, and `steelyard apply`, which restarts it while the gateway holds "
        "requests"
    )
    sample = {"where": "tiny"}


class NotInPlace(SteelyardError):
    """--strategy reload for a version whose weights the running engine cannot take. Nothing changed."""

    sentence = "the rollout is not begun: it cannot be done in place: {why}"
    fix = "give `--strategy swap`"
    sample = {"where": "tiny", "why": "tokenizer.json is another one"}
    why: str


class NoSecondEngine(SteelyardError):
    """--strategy surge on a host that has no room for a second engine. Nothing changed."""

    sentence = "the rollout is not begun: {why}"
    fix = "give `--strategy swap`, which holds requests"
    sample = {"where": "gpu-1", "why": "a second engine needs 1 GPUs, and 0 are free"}
    why: str


class NoSleepingEngine(SteelyardError):
    """--strategy sleep-swap for an engine that cannot sleep beside another. Nothing changed."""

    sentence = "the rollout is not begun: {why}"
    fix = "give `--strategy swap`, which starts it anew"
    sample = {"where": "gpu-1", "why": "its engine has no sleep mode"}
    why: str


class WaitTooLong(SteelyardError):
    """The gateway does not hold requests as long as a host that is alone would take to switch. Nothing changed."""

    sentence = (
        "the rollout is not begun: requests would wait up to {wait_s} s for {host}, and the gateway holds them for "
        "{hold_s} s"
    )
    fix = "set `gateway.hold_s: {needed_s}` and apply it, or serve the alias on a second host"
    sample = {"where": "tiny", "host": "gpu-1", "wait_s": "450", "hold_s": "120", "needed_s": "451"}
    host: str
    wait_s: int
    hold_s: int
    needed_s: int


class VersionDoesNotFit(SteelyardError):
    """A host's memory does not take the version, and `serve.fit` says to refuse it then. Nothing changed."""

    sentence = "the rollout is not begun: {why}"
    fix = "would have room: {ways}"
    sample = {
        "where": "gpu-1",
        "why": "tiny: 90.0 GiB of weights do not fit 79.6 GiB of its GPU",
        "ways": "tensor_parallel_size 2",
    }
    why: str
    ways: str = "nothing that is known; see `steelyard models fit`, or set `serve.fit: ignore`"


class SwitchFailed(SteelyardError):
    """A host tried the new version, and went back to the old one."""

    sentence = "the new version does not serve: {why}"
    fix = "the old version serves; {mend}, and run the rollout again"
    sample = {
        "where": "gpu-1",
        "why": "it does not start: `max_model_len` 1000000 is more than the model's own 2048",
        "mend": "set `serve.max_model_len` in models.yml to 2048 or less",
    }
    exit = Exit.ROLLED_BACK
    why: str
    mend: str = "mend the cause"


class PromptsWrong(SteelyardError):
    """A quality set that cannot be read."""

    sentence = "the quality set cannot be used: {why}"
    fix = "give a JSON document a line, with `prompt` or `messages`, and `expect`: a regular expression"
    sample = {"where": "quality.jsonl:3", "why": "expect: Field required"}
    why: str


class NoVersionBefore(SteelyardError):
    """A rollback without a version to go back to."""

    sentence = "hosts know no version of {model} before the one they serve"
    fix = "name one: `steelyard rollback {alias} VERSION`; `steelyard models ls` lists what hosts hold"
    sample = {"where": "gpu-1", "alias": "tiny", "model": "llm/tiny"}
    alias: str
    model: str


class NoRolloutToResume(SteelyardError):
    """--resume without a rollout that was cut short, and without one on trial at any host."""

    sentence = "no rollout of `{alias}` was cut short, and no host has a version of it on trial: {serves}"
    fix = "run `steelyard rollout {alias} VERSION`"
    sample = {"where": "inventories/lab", "alias": "tiny", "serves": "gpu-1 serves v1, gpu-2 serves v1"}
    alias: str
    serves: str


class TrialOpen(SteelyardError):
    """A host has another version on trial than the one it is to be moved to. Nothing changed."""

    sentence = (
        "the rollout is not begun: {where} has {version} of `{alias}` on trial{by}, before it {before}; it is "
        "{state}, and goes back by itself{until} where nobody confirms it"
    )
    fix = (
        "keep {version}: `steelyard rollback {alias} {version}`; go back to {before}: "
        "`steelyard rollback {alias} {before}`"
    )
    sample = {
        "where": "gpu-2",
        "alias": "tiny",
        "version": "v2",
        "before": "v1",
        "state": "serving",
        "by": " since 2026-11-22T09:00:00Z by anna from ops-2",
        "until": " at 2026-11-22T09:05:00Z",
    }
    alias: str
    version: str
    before: str
    state: str
    by: str
    until: str
