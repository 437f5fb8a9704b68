"""Live checks of the driver: the three versions agree, the declared one is loaded, and every GPU is well."""

from __future__ import annotations

from pyinfra.context import host

from steelyard.api import live_check
from steelyard.api.finding import Severity
from steelyard.hardware.gpu_health import gpu_problems
from steelyard.modules.facts.driver import DriverState
from steelyard.modules.facts.helper import helper_fact
from steelyard_host.wire.hardware import GpuHealth

from .settings import Settings


def check_driver(wanted: Settings, current: DriverState) -> None:
    """A host without a GPU is told from one whose driver is not loaded."""
    if not live_check.is_enabled():
        return
    if not current.gpus and wanted.gpus in (None, 0):
        fix = "nothing, if it has no GPU: take it out of group `gpu`; else seat the board anew"
        live = "installed; no GPU on the PCI bus, so the module is not loaded"
        live_check.report(
            "nvidia_driver.loaded", "NVIDIA kernel module", f"{wanted.version} loaded", live, fix, Severity.WARNING
        )
        return
    if current.loaded and current.loaded != wanted.version:
        fix = "drain and reboot it, or declare `nvidia_driver.restart: reboot` and apply"
        live_check.report(
            "nvidia_driver.loaded",
            "NVIDIA kernel module",
            f"{wanted.version} loaded",
            f"{current.loaded} loaded, {current.on_disk} on disk",
            fix,
        )
    if current.loaded and current.library and current.loaded != current.library:
        live = f"module {current.loaded}, library {current.library}"
        live_check.report(
            "nvidia_driver.one-version", "module and library", "one version", live, "reload the modules or reboot"
        )
    health = helper_fact(host, GpuHealth, "gpu-health")
    if health is None:
        return
    for problem in gpu_problems(health, wanted.gpus):
        severity = Severity.ERROR if problem.halts else Severity.WARNING
        live_check.report(
            f"nvidia_driver.gpu-{problem.check}", problem.subject, problem.declared, problem.live, problem.fix, severity
        )
