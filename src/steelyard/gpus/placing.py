"""Which GPUs a service gets. Pure, and stable: what a service has it keeps, whatever is declared beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WHOLE = 1.0 + 1e-9  # shares of a GPU are decimal numbers


class NoPlace(ValueError):
    """Why a service gets no GPUs, in words that follow its name."""


@dataclass(frozen=True)
class Need:
    """A service asks for `count` GPUs and `share` of each; `named`: the ones that somebody chose for it, by UUID.

    Lazy ones may have the same share: of those, one at a time has it.
    """

    service: str
    count: int
    share: float
    named: tuple[str, ...] = ()
    lazy: bool = False


class _Shares:
    """How much of each GPU is given out: to services that always run, and the largest share of those that run by turns."""

    def __init__(self, gpus: Sequence[str]) -> None:
        self.always = dict.fromkeys(gpus, 0.0)
        self.by_turns = dict.fromkeys(gpus, 0.0)

    def of(self, uuid: str) -> float:
        return self.always[uuid] + self.by_turns[uuid]

    def with_need(self, uuid: str, need: Need) -> float:
        """What would be given out of a GPU; more than all of one that is not there."""
        if uuid not in self.always:
            return 2.0
        if need.lazy:
            return self.always[uuid] + max(self.by_turns[uuid], need.share)
        return self.of(uuid) + need.share

    def take(self, uuid: str, need: Need) -> None:
        if need.lazy:
            self.by_turns[uuid] = max(self.by_turns[uuid], need.share)
        else:
            self.always[uuid] += need.share


def place(needs: Sequence[Need], gpus: Sequence[str], held: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Service to UUIDs. `gpus`: what the host has, in the bus's order; `held`: what services have now.

    Named ones first, then those that keep theirs, then those that always run, larger shares first, and the lazy ones: whole free GPUs before shared ones.
    Raises NoPlace.
    """
    found: dict[str, tuple[str, ...]] = {}
    taken = _Shares(gpus)

    def take(need: Need, chosen: Sequence[str]) -> None:
        found[need.service] = tuple(chosen)
        for uuid in chosen:
            taken.take(uuid, need)

    for need in needs:
        if need.named:
            _refuse_wrong_names(need, taken)
            take(need, need.named)
    for need in needs:
        mine = held.get(need.service, ())
        if need.service not in found and len(mine) == need.count and all(taken.with_need(uuid, need) <= WHOLE for uuid in mine):
            take(need, mine)
    for need in sorted(needs, key=lambda need: (need.lazy, -need.share)):  # first what has the fewest places
        if need.service not in found:
            take(need, _free(need, taken))
    return {need.service: found[need.service] for need in needs}


def _refuse_wrong_names(need: Need, taken: _Shares) -> None:
    for uuid in need.named:
        if uuid not in taken.always:
            raise NoPlace(f"{need.service}: the host has no GPU {uuid}; it has {', '.join(taken.always) or 'none'}")
        together = taken.with_need(uuid, need)
        if together > WHOLE:
            raise NoPlace(f"{need.service}: {uuid} is asked for more than once, {together:.2g} of it together")
    if len(need.named) != need.count or len(set(need.named)) != need.count:
        raise NoPlace(f"{need.service}: it asks for {need.count} GPUs, and {len(set(need.named))} are named")


def _free(need: Need, taken: _Shares) -> list[str]:
    """GPUs side by side where there are some, so that they are likely to share a switch."""
    gpus = list(taken.always)
    whole = [uuid for uuid in gpus if taken.of(uuid) == 0]
    if len(whole) >= need.count:
        return whole[: need.count]
    fitting = sorted((taken.of(uuid), number, uuid) for number, uuid in enumerate(gpus) if taken.with_need(uuid, need) <= WHOLE)
    if len(fitting) < need.count:
        raise NoPlace(
            f"{need.service}: it asks for {need.share:.2g} of {need.count} GPUs, and {len(fitting)} of {len(gpus)} have that left"
        )
    return [uuid for _, _, uuid in fitting[: need.count]]
