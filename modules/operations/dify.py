"""Models in Dify as declared: compared over the console API from the controller, mended call by call."""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache
from typing import Any

from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.reconcile import Difference, WantedModel, differences, mend
from steelyard.errors import SteelyardError
from steelyard.refusal import FAILED_BY, Refusal


@lru_cache
def client_of(access: DifyAccess) -> DifyClient:
    """One client, and so one login, per process and Dify."""
    return DifyClient(access)


class DifyCall(FunctionCommand):
    """One difference to mend; its text names the model and never a field's value that is secret."""

    def __init__(self, access: DifyAccess, provider: str, difference: Difference) -> None:
        super().__init__(self._run, [], {})
        self._access, self._provider, self._difference = access, provider, difference
        self.subject = f"Dify model {difference.wanted.model} ({difference.action})"
        self.declared, self.live = difference.declared, difference.live

    def _run(self, state: Any, host: Any) -> bool:
        try:
            mend(client_of(self._access), self._provider, self._difference)
        except SteelyardError as error:
            setattr(host, FAILED_BY, error)
            return False
        return True


@operation()
def registered(
    access: DifyAccess, provider: str, models: tuple[WantedModel, ...]
) -> Generator[StringCommand | DifyCall, None, None]:
    """Each model is registered under our credential, in use, enabled, with the declared fields."""
    try:
        found = differences(client_of(access), provider, models)
    except SteelyardError as error:
        if not state.is_executing:
            raise
        setattr(host, FAILED_BY, error)  # an exception here would end the run for every host
        yield Refusal(str(error))
        return
    for difference in found:
        yield DifyCall(access, provider, difference)
