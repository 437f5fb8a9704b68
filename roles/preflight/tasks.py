"""Brings a host to the two programs that `steelyard preflight` measures with."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from steelyard.modules.operations.package import installed


@deploy("preflight")
def preflight() -> None:
    """Nothing runs and nothing listens: the command starts them for seconds."""
    installed(name="Install what measures", packages=("fio", "iperf3", "iputils-ping"))
