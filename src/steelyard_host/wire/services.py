"""Services of a host as its helper tells of them: `status`, `services`, `token`, `service-counters`."""

from __future__ import annotations

from typing import NamedTuple

from steelyard_host.wire.codec import State, to_json
from steelyard_host.wire.rollout import Cause, OpenTrial


class ServiceState(State):
    """The active state of a unit in systemd's words; UNKNOWN where it says none, or one that is not listed here."""

    ACTIVE = "active"
    RELOADING = "reloading"
    REFRESHING = "refreshing"
    INACTIVE = "inactive"
    FAILED = "failed"
    ACTIVATING = "activating"
    DEACTIVATING = "deactivating"
    MAINTENANCE = "maintenance"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, text: str | None) -> ServiceState:
        """The state that `systemctl show` calls `text`."""
        try:
            return cls(text)
        except ValueError:
            return cls.UNKNOWN

    @property
    def is_down(self) -> bool:
        """Whether nothing runs, and nothing is about to."""
        return self in (ServiceState.INACTIVE, ServiceState.FAILED)


class Load(State):
    """The moment of an engine's start: at boot, or by its first request."""

    PRELOAD = "preload"
    LAZY = "lazy"


class Kill(NamedTuple):
    """One time that the watchdog killed an engine. `at`: seconds of the epoch."""

    at: float
    why: str


class Phase(NamedTuple):
    """One phase of a start: what an engine was at, and for how long."""

    phase: str
    seconds: float


class Start(NamedTuple):
    """A start of an engine that came to its first token.

    `began`: seconds of the epoch; `said`: numbers that the engine tells of itself, by name; `version`:
    `PROJECT/VERSION` that was mounted; `engine`: name of the environment it ran from.
    """

    began: float
    seconds: float
    phases: tuple[Phase, ...]
    said: dict[str, float]
    version: str | None = None
    engine: str | None = None


class ServiceStatus(NamedTuple):
    """A service at one moment.

    `detail`, `since`, `result` and `restarts` are systemd's words; `stop_s`: what its stop may take, None without a
    limit; `mounted`: the version that its process sees; `requests`: the engine's own counts, empty where it does not
    answer; `trial`: None where no switch is open.
    """

    name: str
    unit: str
    state: ServiceState
    detail: str
    since: str
    result: str
    restarts: int
    mounted: str | None
    requests: dict[str, float]
    load: Load = Load.PRELOAD
    cause: Cause | None = None
    killed: tuple[Kill, ...] = ()
    stop_s: float | None = None
    start: Start | None = None
    trial: OpenTrial | None = None


class HostStatus(NamedTuple):
    """The answer of `status`: GPUs as NVML gives them, and every service of the host."""

    gpus: dict[str, object]
    services: tuple[ServiceStatus, ...]


class TroubledService(NamedTuple):
    """A service that does not run, or came back, as `doctor` names it, and why."""

    name: str
    unit: str
    cause: Cause


class TokenAnswer(NamedTuple):
    """The answer of `token`: whether the engine generates one now, and else why not."""

    gives: bool
    why: str


class EngineCounters(NamedTuple):
    """The answer of `service-counters`: sums and counts since the engine's start; 0 where it does not count that."""

    time_to_first_token_seconds_sum: float = 0.0
    time_to_first_token_seconds_count: float = 0.0
    inter_token_latency_seconds_sum: float = 0.0
    inter_token_latency_seconds_count: float = 0.0


class ProxyState(NamedTuple):
    """The answer of `haproxy`, about a running one; `config` is None where it does not answer, and `error` says why.

    `config`: STEELYARD_CONFIG as loaded. By `backend/server`: `servers` to the status, `weights` to the weight,
    `answers` to how many it gave well and how many ill; `running` to how many it works
    on now.
    """

    config: str | None
    servers: dict[str, str] = {}
    weights: dict[str, int] = {}
    answers: dict[str, tuple[int, int]] = {}
    error: str | None = None
    running: dict[str, int] = {}

    def as_json(self) -> dict[str, object]:
        """The JSON object; without an error it has no such key, by whose presence older controllers go."""
        return {name: to_json(item) for name, item in self._asdict().items() if name != "error" or item is not None}
