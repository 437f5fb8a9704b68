"""The hosts that wheels have to fit: their Python, their C library, their processor. Tags are the packaging project's
own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Protocol

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from steelyard.errors import WheelsTargetWrong

# manylinux releases that uv resolves for; of a newer C library it knows no more than of the last
UV_MINORS = (17, 28, *range(31, 41))
LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


class HostPlatform(Protocol):
    """The platform that a host tells of itself: `python` as 3.11, `machine` as x86_64, `glibc` as 2.36, and its NVIDIA
    GPUs.

    `glibc` is empty where the C library is another one.
    """

    @property
    def python(self) -> str: ...
    @property
    def machine(self) -> str: ...
    @property
    def glibc(self) -> str: ...
    @property
    def gpus(self) -> int: ...


@dataclass(frozen=True, order=True)
class Target:
    """`python` as 3.11, `glibc` as 2.36, `machine` as x86_64."""

    python: str
    glibc: str
    machine: str = "x86_64"

    def __str__(self) -> str:
        return f"Python {self.python}, glibc {self.glibc}, {self.machine}"

    @property
    def minor(self) -> int:
        """The minor version of glibc."""
        return int(self.glibc.split(".")[1])

    @property
    def uv_platform(self) -> str:
        """The newest platform of uv's that these hosts have."""
        return f"{self.machine}-manylinux_2_{max(minor for minor in UV_MINORS if minor <= max(self.minor, 17))}"

    @property
    def markers(self) -> dict[str, str]:
        """The environment that requirements' markers are evaluated in."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def as_json(self) -> dict[str, str]:
        """The target's object in records and documents."""
        return asdict(self)


def target(python: str, glibc: str, machine: str = "x86_64") -> Target:
    """The target that these words name. Raises WheelsTargetWrong."""
    if not re.fullmatch(r"3\.[0-9]{1,2}", python):
        raise WheelsTargetWrong(where="--python", found=python, allowed="a version as 3.11")
    if not re.fullmatch(r"2\.[0-9]{1,2}", glibc):
        raise WheelsTargetWrong(where="--glibc", found=glibc, allowed="a version as 2.36")
    if not re.fullmatch(r"[a-z0-9_]+", machine):
        raise WheelsTargetWrong(where="the processor", found=machine, allowed="a machine as x86_64")
    return Target(python, glibc, machine)


def _platforms(hosts: Target) -> Iterator[str]:
    for minor in range(hosts.minor, 4, -1):
        yield f"manylinux_2_{minor}_{hosts.machine}"
        if minor in LEGACY:
            yield f"{LEGACY[minor]}_{hosts.machine}"
    yield f"linux_{hosts.machine}"


def tag_ranks(hosts: Target) -> dict[Tag, int]:
    """Tags that these hosts install, the most specific first (0)."""
    version = tuple(int(part) for part in hosts.python.split("."))
    interpreter, platforms = f"cp{version[0]}{version[1]}", list(_platforms(hosts))
    tags = [*cpython_tags(version, [interpreter], platforms), *compatible_tags(version, interpreter, platforms)]
    return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}


def rank_of(file: str, ranks: dict[Tag, int]) -> int | None:
    """The rank of a wheel's file name among `ranks`, 0 for the best; None: not at all, or it is no wheel's name."""
    try:
        tags = parse_wheel_filename(file)[3]
    except InvalidWheelFilename:
        return None
    return min((ranks[tag] for tag in tags if tag in ranks), default=None)
