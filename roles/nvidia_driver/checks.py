"""Live checks of the driver: the three versions agree, the declared one is loaded, and every GPU is well."""

from __future__ import annotations

from typing import Any

from pyinfra.context import host

from steelyard.checks import checking, report
from steelyard.finding import Severity
from steelyard.gpus.health import problems
from steelyard.modules.facts.driver import DriverState
from steelyard.modules.facts.helper import HelperAnswer

from .settings import Settings


def check_driver(wanted: Settings, now: DriverState) -> None:
    """A host without a GPU is told from one whose driver is not loaded."""
    if not checking():
        return
    if not now.gpus and wanted.gpus in (None, 0):
        fix = "nothing, if it has no GPU: take it out of group `gpu`; else seat the board anew"
        live = "installed; no GPU on the PCI bus, so the module is not loaded"
        report("nvidia_driver.loaded", "NVIDIA kernel module", f"{wanted.version} loaded", live, fix, Severity.WARNING)
        return
    if now.loaded and now.loaded != wanted.version:
        fix = "drain and reboot it, or declare `nvidia_driver.restart: reboot` and apply"
        report(
            "nvidia_driver.loaded",
            "NVIDIA kernel module",
            f"{wanted.version} loaded",
            f"{now.loaded} loaded, {now.on_disk} on disk",
            fix,
        )
    if now.loaded and now.library and now.loaded != now.library:
        live = f"module {now.loaded}, library {now.library}"
        report("nvidia_driver.one-version", "module and library", "one version", live, "reload the modules or reboot")
    answer: dict[str, Any] | None = host.get_fact(HelperAnswer, words=("gpu-health",))
    if answer is None:
        return
    for problem in problems(answer, wanted.gpus):
        severity = Severity.ERROR if problem.halts else Severity.WARNING
        report(f"nvidia_driver.gpu-{problem.check}", problem.subject, problem.declared, problem.live, problem.fix, severity)
