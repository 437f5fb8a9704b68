"""Brings a host to the programs that `steelyard preflight` measures with."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from steelyard.modules.facts.system import System
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.rpm import versions


@deploy("preflight")
def preflight() -> None:
    """Install the programs. Nothing of them runs or listens: the command starts them for seconds."""
    if host.get_fact(System).like == "rhel":
        versions(name="Install what measures", packages=dict.fromkeys(("fio", "iperf3", "iputils"), ""))
    else:
        installed(name="Install what measures", packages=("fio", "iperf3", "iputils-ping"))
