"""What really reads the files of hosts: systemd's own library and programs, and HAProxy."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

LIBRARIES = (*Path("/usr/lib").glob("*-linux-gnu/systemd"), Path("/usr/lib/systemd"), Path("/usr/lib64/systemd"))
LAYERS = Path("/var/cache/steelyard/lab/layers")  # of a lab on this machine: one with HAProxy will do


@cache
def _systemd() -> ctypes.CDLL:
    for folder in LIBRARIES:
        for path in sorted(folder.glob("libsystemd-shared-*.so")):
            library = ctypes.CDLL(str(path))
            if hasattr(library, "load_env_file"):
                return library
    pytest.skip("systemd's own library is not on this machine")


def environment_of(file: Path) -> list[str] | None:
    """`NAME=VALUE` of each variable, as systemd reads an `EnvironmentFile=`; None where it takes none of the file."""
    library = _systemd()
    variables = ctypes.POINTER(ctypes.c_char_p)()
    if library.load_env_file(None, str(file).encode(), ctypes.byref(variables)) < 0:
        return None
    pairs: list[str] = []
    while variables and variables[len(pairs)] is not None:
        pairs.append((variables[len(pairs)] or b"").decode(errors="surrogateescape"))
    return pairs


def verified(*units: Path) -> str:
    """What `systemd-analyze verify` says of units, but for programs and other units that this machine lacks."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    command = ["systemd-analyze", "verify", "--man=no", *map(str, units)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = (done.stdout + done.stderr).splitlines()
    return "\n".join(line for line in said if "is not executable" not in line and "Failed to create" not in line)


def haproxy() -> tuple[str, dict[str, str]]:
    """HAProxy and the environment that it needs: this machine's, or that of a lab on it."""
    program, environment = shutil.which("haproxy"), dict(os.environ)
    if program is None:
        path = next(iter(sorted(LAYERS.glob("*/usr/sbin/haproxy"))), None)
        if path is None:
            pytest.skip("HAProxy is not on this machine, nor in a lab of it")
        program = str(path)
        environment["LD_LIBRARY_PATH"] = ":".join(map(str, path.parents[1].glob("lib/*-linux-gnu")))
    return program, environment


def haproxy_says(config: Path) -> str:
    """What `haproxy -c` says of a configuration; empty where it is good."""
    program, environment = haproxy()
    done = subprocess.run([program, "-c", "-f", str(config)], capture_output=True, text=True, env=environment)
    return "" if done.returncode == 0 else done.stdout + done.stderr
