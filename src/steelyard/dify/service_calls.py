"""Dify's service API, which users of apps and knowledge bases call: one key, and no wait without an end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from steelyard.errors import DifyRefused

from .http import TIMEOUT_S, HttpResponse, exchange, message_of


@dataclass(frozen=True)
class ServiceCalls:
    """The API of the Dify at `url`, by one key. After `until`, in monotonic seconds, no answer is waited for."""

    url: str
    key: str = field(repr=False)
    until: float

    @property
    def seconds_left(self) -> float:
        """The time in which an answer still counts."""
        return max(0.0, self.until - time.monotonic())

    def call(self, method: str, path: str, body: Any = None) -> HttpResponse:
        """The whole response to a call. Raises DifyRefused and DifyUnreachable."""
        base, headers = f"{self.url}/v1", {"Authorization": f"Bearer {self.key}"}
        answer = exchange(base, method, path, body, headers, min(TIMEOUT_S, self.seconds_left + 1))
        if answer.status >= 400:
            why = message_of(answer.body)
            raise DifyRefused(where=base, call=f"{method} {path}", status=str(answer.status), why=why)
        return answer

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded body of the response to a call. Raises like `call`."""
        return self.call(method, path, body).body
