"""What can be wrong with a rollout."""

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
    fix = "set `version: {version}` and its `source` for {model} there, then run the rollout: what is declared is what is rolled out"
    sample = {"where": "models.yml:5", "alias": "tiny", "model": "llm/tiny", "version": "v2", "declared": "v1"}
    alias: str
    model: str
    version: str
    declared: str


class RolloutRefused(SteelyardError):
    """A rollout that was not begun; nothing changed."""

    sentence = "the rollout is not begun: {why}"
    fix = "{remedy_words}"
    sample = {
        "where": "tiny",
        "why": "requests would wait about 450 s for gpu-1, and the gateway holds them for 120 s",
        "remedy_words": "raise `gateway.hold_s` and apply it, or serve the alias on a second host",
    }
    why: str
    remedy_words: str


class SwitchFailed(SteelyardError):
    """A host tried the new version, and went back to the old one."""

    sentence = "the new version does not serve: {why}"
    fix = "the old version serves; mend the cause and run the rollout again"
    sample = {"where": "gpu-1", "why": "it does not start; its log: RuntimeError: size mismatch"}
    exit = Exit.ROLLED_BACK
    why: str


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
    """--resume without a rollout that was cut short."""

    sentence = "the last rollout of `{alias}` came to its end, or there was none"
    fix = "run `steelyard rollout {alias} VERSION`"
    sample = {"where": "inventories/lab", "alias": "tiny"}
    alias: str
