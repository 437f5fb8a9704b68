"""A rollout before it begins: what hosts say, and how each of them would be moved. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .open_trials import NO_TRIALS, TrialsLeft
from .request import RolloutRequest
from .strategy import Prediction

if TYPE_CHECKING:
    from steelyard.site.site import Service
    from steelyard_host.wire.rollout import SwitchState


@dataclass(frozen=True)
class PreparedRollout:
    """A rollout that may begin: `services` are all of the alias, `due` those that have something to do.

    `states` and `predictions` are by host, predictions of those that are due. `open_trials`: trials that another run
    left on their hosts, by host.
    """

    alias: str
    version: str
    services: tuple[Service, ...]
    due: tuple[Service, ...]
    states: Mapping[str, SwitchState]
    predictions: Mapping[str, Prediction]
    request: RolloutRequest
    open_trials: TrialsLeft = NO_TRIALS

    @property
    def declared(self) -> str:
        """The version that models.yml declares for the alias."""
        return self.services[0].version
