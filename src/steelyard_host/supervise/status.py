"""The status of this host, from live state: NVML, systemd, the engines' own metrics, the mounted version."""

from __future__ import annotations

from steelyard_host.causes import evidence
from steelyard_host.engine import kill_log, metrics, mounts, start_log, trial_record
from steelyard_host.engine.service import HostService, services
from steelyard_host.hardware import gpu
from steelyard_host.system import dead_man_timer, systemd
from steelyard_host.wire.rollout import OpenTrial
from steelyard_host.wire.services import HostStatus, Load, ServiceState, ServiceStatus

PROPERTIES = (
    "ActiveState",
    "SubState",
    "Result",
    "MainPID",
    "ActiveEnterTimestamp",
    "NRestarts",
    "TimeoutStopUSec",
)


def read() -> HostStatus:
    """The host's GPUs and every service of it. Raises HelperError."""
    return HostStatus(gpu.nvml(set()), tuple(service_status(service) for service in services()))


def service_status(service: HostService) -> ServiceStatus:
    """One service at this moment. Raises HelperError where its trial's record is of a newer helper."""
    shown = systemd.show(service.unit, *PROPERTIES)
    pid = int(shown.get("MainPID") or 0)
    state = ServiceState.of(shown.get("ActiveState"))
    return ServiceStatus(
        name=service.name,
        unit=service.unit,
        load=Load.LAZY if service.is_lazy else Load.PRELOAD,
        state=state,
        detail=shown.get("SubState", ""),
        since=shown.get("ActiveEnterTimestamp", ""),
        result=shown.get("Result", ""),
        restarts=int(shown.get("NRestarts") or 0),
        cause=evidence.of_service(service, shown),
        killed=kill_log.read(service.name),
        stop_s=systemd.timespan_s(shown.get("TimeoutStopUSec", "")),
        mounted=mounts.mounted_version(pid, service.name) if pid else None,
        start=start_log.last(service.name),
        requests=metrics.requests(service) if state is ServiceState.ACTIVE else {},
        trial=open_trial(service),
    )


def open_trial(service: HostService) -> OpenTrial | None:
    """The trial that is neither confirmed nor undone; None where there is none. Raises HelperError."""
    trial = trial_record.read(service)
    if trial is None or not trial.state.is_open:
        return None
    return OpenTrial.of(trial)._replace(left_s=dead_man_timer.left_s(service.name))
