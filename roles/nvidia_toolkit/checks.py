"""Live checks of GPU containers: which would lose their GPUs at the next daemon-reload, and which have lost them."""

from __future__ import annotations

from pyinfra.context import host

from steelyard.api import live_check
from steelyard.api.finding import Severity
from steelyard.modules.facts.docker import GpuContainers


def check_containers() -> None:
    """Only containers whose GPUs depend on the runtime's hook; CDI ones are safe."""
    if not live_check.is_enabled():
        return
    for container in host.get_fact(GpuContainers, look=True):
        fix = f"recreate {container.name} with CDI: `docker run --device nvidia.com/gpu=...`"
        if not container.has_gpus:
            live = "NVML does not start in it any more"
            live_check.report(
                "nvidia_toolkit.container-has-gpus", f"container {container.name}", "sees its GPUs", live, fix
            )
        elif container.at_risk:
            live = "they go with the next daemon-reload of systemd"
            live_check.report(
                "nvidia_toolkit.container-keeps-gpus",
                f"container {container.name}",
                "keeps its GPUs",
                live,
                fix,
                Severity.WARNING,
            )
