"""Counters of an engine from its /metrics, under the names that vLLM gives them."""

from __future__ import annotations

import http.client
import re

from steelyard_host.engine.probe import SocketConnection, headers
from steelyard_host.engine.service import EngineTraits, HostService
from steelyard_host.system.http_body import body_of

COUNTS = ("num_requests_running", "num_requests_waiting", "request_success_total")
GROWING = ("generation_tokens_total", "prompt_tokens_total", "request_success_total")
TIMED = ("time_to_first_token_seconds", "inter_token_latency_seconds")


def read(service: HostService, names: tuple[str, ...]) -> dict[str, float]:
    """Return the counters `names` of the engine, summed over their labels; empty where it does not answer."""
    try:
        connection = SocketConnection(service.socket, 5)
        connection.request("GET", "/metrics", headers=headers(service.name))
        page = body_of(connection.getresponse(), 5).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return {}
    return parse(page, service.kind, names)


def parse(page: str, kind: EngineTraits, names: tuple[str, ...]) -> dict[str, float]:
    """Counters of a /metrics page, by vLLM's names for them. Pure."""
    counts: dict[str, float] = {}
    for line in page.splitlines():
        match = re.match(r"%s:(\w+)(?:\{[^}]*\})? (\S+)" % kind.name, line)
        for name in kind.counters.get(match[1], (match[1],)) if match else ():
            if match and name in names:
                counts[name] = counts.get(name, 0) + _number(match[2])
    return counts


def _number(text: str) -> float:
    """Zero for what is none: an engine may say anything."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def requests(service: HostService) -> dict[str, float]:
    """Running, waiting and finished requests as the engine counts them."""
    return read(service, COUNTS)


def counters(service: HostService) -> dict[str, float]:
    """Sums and counts from which means over a while are made."""
    return read(service, tuple("%s_%s" % (name, kind) for name in TIMED for kind in ("sum", "count")))


def progress(service: HostService) -> float:
    """A number that grows while the engine works on anything."""
    return sum(read(service, GROWING).values())
