"""The double's clock: one reading of the time in the shapes in which Dify writes it."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Callable


class Clock:
    """Reads the time by `read`, in seconds since 1970; a test hands in its own."""

    def __init__(self, read: Callable[[], float]) -> None:
        self.read = read

    def unix(self) -> int:
        """Return whole seconds: what most answers carry."""
        return int(self.read())

    def exact(self) -> float:
        """Return seconds with fractions, as uploaded files carry them."""
        return round(self.read(), 6)

    def iso(self) -> str:
        """Return the time in UTC as the plugin daemon writes it."""
        return self._utc().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def version(self) -> str:
        """Return the time in UTC as a published workflow's version."""
        return str(self._utc().replace(tzinfo=None))

    def batch(self) -> str:
        """Return the 20 digits that name a batch of documents: the second, and six more by chance."""
        return self._utc().strftime("%Y%m%d%H%M%S") + "%06d" % secrets.randbelow(10**6)

    def _utc(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.read(), datetime.timezone.utc)  # noqa: UP017  runs on 3.9 too
