"""The assignment of GPUs to services. Pure, and stable: what a service has it keeps, whatever is declared beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WHOLE = 1.0 + 1e-9  # shares of a GPU are decimal numbers


class NotAssignable(ValueError):
    """A service gets no GPUs; the reason, in words that follow its name."""


@dataclass(frozen=True)
class GpuRequest:
    """A service asks for `count` GPUs and `share` of each; `named`: the ones that somebody chose for it, by UUID.

    Lazy ones may have the same share: of those, one at a time has it.
    """

    service: str
    count: int
    share: float
    named: tuple[str, ...] = ()
    lazy: bool = False


class _Shares:
    """How much of each GPU is given out: to services that always run, and the largest share of those that run by
    turns.
    """

    def __init__(self, gpus: Sequence[str]) -> None:
        self.always = dict.fromkeys(gpus, 0.0)
        self.by_turns = dict.fromkeys(gpus, 0.0)

    def of(self, uuid: str) -> float:
        return self.always[uuid] + self.by_turns[uuid]

    def with_request(self, uuid: str, request: GpuRequest) -> float:
        """What would be given out of a GPU; more than all of one that is not there."""
        if uuid not in self.always:
            return 2.0
        if request.lazy:
            return self.always[uuid] + max(self.by_turns[uuid], request.share)
        return self.of(uuid) + request.share

    def take(self, uuid: str, request: GpuRequest) -> None:
        if request.lazy:
            self.by_turns[uuid] = max(self.by_turns[uuid], request.share)
        else:
            self.always[uuid] += request.share


def assign(
    requests: Sequence[GpuRequest], gpus: Sequence[str], held: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """UUIDs for each service. `gpus`: what the host has, in the bus's order; `held`: what services have now.

    Named ones first, then those that keep theirs, then those that always run, larger shares first, and the lazy ones:
    whole free GPUs before shared ones. Raises NotAssignable.
    """
    assigned: dict[str, tuple[str, ...]] = {}
    taken = _Shares(gpus)

    def take(request: GpuRequest, chosen: Sequence[str]) -> None:
        assigned[request.service] = tuple(chosen)
        for uuid in chosen:
            taken.take(uuid, request)

    for request in requests:
        if request.named:
            _refuse_wrong_names(request, taken)
            take(request, request.named)
    for request in requests:
        current = held.get(request.service, ())
        if (
            request.service not in assigned
            and len(current) == request.count
            and all(taken.with_request(uuid, request) <= WHOLE for uuid in current)
        ):
            take(request, current)
    # first what has the fewest places
    for request in sorted(requests, key=lambda request: (request.lazy, -request.share)):
        if request.service not in assigned:
            take(request, _free(request, taken))
    return {request.service: assigned[request.service] for request in requests}


def _refuse_wrong_names(request: GpuRequest, taken: _Shares) -> None:
    for uuid in request.named:
        if uuid not in taken.always:
            raise NotAssignable(
                f"{request.service}: the host has no GPU {uuid}; it has {', '.join(taken.always) or 'none'}"
            )
        together = taken.with_request(uuid, request)
        if together > WHOLE:
            raise NotAssignable(f"{request.service}: {uuid} is asked for more than once, {together:.2g} of it together")
    if len(request.named) != request.count or len(set(request.named)) != request.count:
        raise NotAssignable(
            f"{request.service}: it asks for {request.count} GPUs, and {len(set(request.named))} are named"
        )


def _free(request: GpuRequest, taken: _Shares) -> list[str]:
    """GPUs side by side where there are some, so that they are likely to share a switch."""
    gpus = list(taken.always)
    whole = [uuid for uuid in gpus if taken.of(uuid) == 0]
    if len(whole) >= request.count:
        return whole[: request.count]
    fitting = sorted(
        (taken.of(uuid), number, uuid) for number, uuid in enumerate(gpus) if taken.with_request(uuid, request) <= WHOLE
    )
    if len(fitting) < request.count:
        raise NotAssignable(
            f"{request.service}: it asks for {request.share:.2g} of {request.count} GPUs, and {len(fitting)} of "
            f"{len(gpus)} have that left"
        )
    return [uuid for _, _, uuid in fitting[: request.count]]
