"""The request of an operator for a rollout, and the meaning of its options. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from steelyard.engine.waves import Share
from steelyard.errors import CanaryShareWrong, OnInterruptUnknown, nearest_key
from steelyard_host.wire.rollout import Prompt, Strategy

CANARY_S = 60
MOST_PERCENT = 50  # of the requests, that a canary may get


class OnInterrupt(StrEnum):
    """The fate of a version on trial where a signal stops the rollout: back at once, or left to its host's timer, so
    that `--resume` can confirm it.
    """

    UNDO = "undo"
    HOLD = "hold"


def parse_on_interrupt(found: str | None) -> OnInterrupt | None:
    """The way that --on-interrupt names; None without it. Raises OnInterruptUnknown."""
    if found is None:
        return None
    allowed = [way.value for way in OnInterrupt]
    if found not in allowed:
        nearest, shown = nearest_key(found, allowed), ", ".join(sorted(allowed))
        raise OnInterruptUnknown(where="--on-interrupt", given=found, nearest=nearest, allowed=shown)
    return OnInterrupt(found)


class RolloutRequest(NamedTuple):
    """The way in which the operator wants an alias moved.

    `strategy`: None where the least wait that is safe is to be taken; `serial`: hosts of a wave; `allowed`: hosts that
    may fail; `watch_s`: seconds that each wave is looked at under its clients' requests before it is confirmed;
    `canary`: share of the requests that the first host gets meanwhile; `slower`: so many times slower than the old
    version is too slow; `on_interrupt`: None where somebody is asked, if there is anybody.
    """

    strategy: Strategy | None
    prompts: tuple[Prompt, ...]
    serial: Share | None
    allowed: Share
    undo_s: int
    watch_s: int = 0
    canary: float | None = None
    slower: float = 1.5
    on_interrupt: OnInterrupt | None = None


def parse_canary(canary: str | None, watch_s: int | None) -> tuple[int, float | None]:
    """Seconds to look at each wave, and the canary's share, of --watch and --canary. Raises ShareWrong,
    CanaryShareWrong.
    """
    if canary is None:
        return watch_s or 0, None
    share = Share.parse(canary, "--canary", least=1)
    if not share.percent or share.count > MOST_PERCENT:
        raise CanaryShareWrong(where="--canary", share=canary)
    return (CANARY_S if watch_s is None else watch_s), share.count / 100
