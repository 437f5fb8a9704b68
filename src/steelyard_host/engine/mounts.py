"""The version that an engine's process sees, from the kernel's own table of its mounts."""

from __future__ import annotations

from pathlib import Path

from steelyard_host import paths


def mounted_version(pid: int, name: str) -> str | None:
    """`PROJECT/VERSION` that the process sees at the constant model path of the service `name`; the last mount wins.

    None where there is no such process (0 is none), or nothing is mounted for it.
    """
    mount = paths.model_mount(name)
    source = None
    try:
        for line in Path("/proc/%d/mountinfo" % pid).read_text().splitlines():
            fields = line.split()
            if fields[4] == mount:
                source = fields[3]
    except OSError:
        return None
    return source
