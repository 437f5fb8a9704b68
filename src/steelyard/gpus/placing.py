"""Which GPUs a service gets. Pure, and stable: what a service has it keeps, whatever is declared beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WHOLE = 1.0 + 1e-9  # shares of a GPU are decimal numbers


class NoPlace(ValueError):
    """Why a service gets no GPUs, in words that follow its name."""


@dataclass(frozen=True)
class Need:
    """A service asks for `count` GPUs and `share` of each; `named`: the ones that somebody chose for it, by UUID."""

    service: str
    count: int
    share: float
    named: tuple[str, ...] = ()


def place(needs: Sequence[Need], gpus: Sequence[str], held: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Service to UUIDs. `gpus`: what the host has, in the bus's order; `held`: what services have now.

    Named ones first, then those that keep theirs, then the others in their order: whole free GPUs before shared ones.
    Raises NoPlace.
    """
    found: dict[str, tuple[str, ...]] = {}
    taken: dict[str, float] = dict.fromkeys(gpus, 0.0)

    def take(need: Need, chosen: Sequence[str]) -> None:
        found[need.service] = tuple(chosen)
        for uuid in chosen:
            taken[uuid] += need.share

    for need in needs:
        if need.named:
            _refuse_wrong_names(need, taken)
            take(need, need.named)
    for need in needs:
        mine = held.get(need.service, ())
        if (
            need.service not in found
            and len(mine) == need.count
            and all(taken.get(uuid, 2) + need.share <= WHOLE for uuid in mine)
        ):
            take(need, mine)
    for need in needs:
        if need.service not in found:
            take(need, _free(need, taken))
    return {need.service: found[need.service] for need in needs}


def _refuse_wrong_names(need: Need, taken: Mapping[str, float]) -> None:
    for uuid in need.named:
        if uuid not in taken:
            raise NoPlace(f"{need.service}: the host has no GPU {uuid}; it has {', '.join(taken) or 'none'}")
        if taken[uuid] + need.share > WHOLE:
            raise NoPlace(f"{need.service}: {uuid} is asked for more than once, {taken[uuid] + need.share:.2g} of it together")
    if len(need.named) != need.count or len(set(need.named)) != need.count:
        raise NoPlace(f"{need.service}: it asks for {need.count} GPUs, and {len(set(need.named))} are named")


def _free(need: Need, taken: Mapping[str, float]) -> list[str]:
    """GPUs side by side where there are some, so that they are likely to share a switch."""
    whole = [uuid for uuid, share in taken.items() if share == 0]
    if len(whole) >= need.count:
        return whole[: need.count]
    fitting = sorted((share, number, uuid) for number, (uuid, share) in enumerate(taken.items()) if share + need.share <= WHOLE)
    if len(fitting) < need.count:
        raise NoPlace(
            f"{need.service}: it asks for {need.share:.2g} of {need.count} GPUs, and {len(fitting)} of {len(taken)} have that left"
        )
    return [uuid for _, _, uuid in fitting[: need.count]]
