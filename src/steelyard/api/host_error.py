"""Carries one of our errors through pyinfra, which expects a class of its own."""

from __future__ import annotations

from pyinfra.api.exceptions import ConnectError

from steelyard.errors import SteelyardError


class HostError(ConnectError):
    """An error that takes this host out, and no other: pyinfra's class around `error`."""

    def __init__(self, error: SteelyardError) -> None:
        super().__init__(str(error))
        self.error = error
