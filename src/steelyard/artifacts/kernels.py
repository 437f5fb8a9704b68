"""FlashInfer's kernels: wheels beside vLLM's that no index of Python packages has, and that have to be of one exact
version.

vLLM's METADATA pins flashinfer-python and, since 0.26, no kernels. `vllm download-kernels` installs them from the
project's own index: flashinfer-cubin, and flashinfer-jit-cache with a label for CUDA. With `--dry-run` it prints its
pip commands, and no list of files. The list of files is in the wheel of cubins itself: a `checksums.txt` in each
folder, `SHA256 NAME` a line. Trap: those lists name shared objects (`.so`) for Blackwell too, which even the published
wheel does not carry; FlashInfer fetches them at first use.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.version import InvalidVersion, Version

from steelyard.errors import KernelsIncomplete, KernelsMissing, KernelsOfOtherVersion, WheelsFolderMissing
from steelyard_host.mirror.wheels import normalised

from .wheel_metadata import UNREADABLE, requirements_in
from .wheel_sets import WheelSet

CUBIN, JIT = "flashinfer-cubin", "flashinfer-jit-cache"
PIN = "flashinfer-python"
CHECKSUMS = "checksums.txt"
ASKED = re.compile(r"\b(flashinfer-(?:cubin|jit-cache(?:-[a-z0-9.]+)?))==([0-9][0-9A-Za-z.+]*)")
CARRIED = (".cubin", ".h")  # what flashinfer's own download takes of a list


@dataclass(frozen=True)
class Kernels:
    """Kernels that an operator supplied, verified.

    `files` of it are kernels; `not_carried` are listed, and in no wheel.
    """

    pinned: str
    wheels: tuple[Path, ...] = ()
    files: int = 0
    not_carried: int = 0
    loose: Path | None = None  # a folder of files that are in no wheel

    @property
    def projects(self) -> frozenset[str]:
        """The projects whose wheels were supplied."""
        return frozenset(normalised(path.name.split("-")[0]) for path in self.wheels)


def flashinfer_pin(metadata: str | None) -> str | None:
    """The one version of flashinfer-python that an engine's METADATA allows; None: it asks for none, or is unknown."""
    for asked in requirements_in(metadata or ""):
        exact = [clause.version for clause in asked.specifier if clause.operator == "=="]
        if normalised(asked.name) == PIN and exact and (asked.marker is None or "extra" not in str(asked.marker)):
            return exact[0]
    return None


def read_kernels(folder: Path, pinned: str, chosen: WheelSet) -> Kernels:
    """Look through a folder and read every kernel in it.

    Raises WheelsFolderMissing, KernelsOfOtherVersion, KernelsMissing, KernelsIncomplete.
    """
    if not folder.is_dir():
        raise WheelsFolderMissing(where="--kernels", folder=str(folder))
    wheels = tuple(path for path in sorted(folder.rglob("*.whl")) if _is_kernel_wheel(path.name))
    for path in wheels:
        project, version = normalised(path.name.split("-")[0]), path.name.split("-")[1]
        _hold(path.name, project, version, pinned, chosen, folder)
    _hold_lists(folder, wheels, pinned, chosen)
    files = not_carried = 0
    for path in wheels:
        try:
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
                inside = {name: archive.read(name).decode() for name in names if PurePosixPath(name).name == CHECKSUMS}
                counted = _check(path, inside, names.__contains__, archive.read)
        except (*UNREADABLE, UnicodeDecodeError):
            _refuse(folder, [path.name], 1, "unreadable")
        files, not_carried = files + counted[0], not_carried + counted[1]
    lists = {
        path.relative_to(folder).as_posix(): path.read_text(errors="replace")
        for path in sorted(folder.rglob(CHECKSUMS))
    }
    counted = _check(folder, lists, lambda name: (folder / name).is_file(), lambda name: (folder / name).read_bytes())
    loose = folder if lists else None
    return Kernels(pinned, wheels, files + counted[0], not_carried + counted[1], loose)


def _is_kernel_wheel(name: str) -> bool:
    project = normalised(name.split("-")[0]) if name.count("-") >= 4 else ""
    return project == CUBIN or project.startswith(JIT)


def _hold(file: str, project: str, version: str, pinned: str, chosen: WheelSet, folder: Path) -> None:
    """The version itself, and CUDA's label behind it. Raises KernelsOfOtherVersion."""
    label = f"cu{chosen.build.cuda}"
    try:
        read, wanted = Version(version), Version(pinned)
        same = read.public == wanted.public and (read.local is None or read.local.startswith(label))
    except InvalidVersion:
        same = False
    if not same:
        raise KernelsOfOtherVersion(
            where=str(folder), file=file, found=version, engine=chosen.title, wanted=pinned, project=project
        )


def _hold_lists(folder: Path, wheels: tuple[Path, ...], pinned: str, chosen: WheelSet) -> None:
    """Output of `vllm download-kernels --dry-run`, saved in a .txt: each wheel that it would install is there."""
    present = {normalised(path.name.split("-")[0]): Version(path.name.split("-")[1]) for path in wheels}
    for saved in sorted(folder.glob("*.txt")):
        for project, version in sorted(set(ASKED.findall(saved.read_text(errors="replace")))):
            _hold(f"{saved.name}: {project}=={version}", project, version, pinned, chosen, folder)
            if present.get(project) != Version(version):
                raise KernelsMissing(where=str(folder), list=saved.name, requirement=f"{project}=={version}")


def listed_files(lists: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Name and sha256 of each file that the `checksums.txt` of these folders name."""
    for place, text in sorted(lists.items()):
        for line in text.splitlines():
            fields = line.split()
            if (
                len(fields) == 2
                and not PurePosixPath(fields[1]).is_absolute()
                and ".." not in PurePosixPath(fields[1]).parts
            ):
                yield (PurePosixPath(place).parent / fields[1]).as_posix(), fields[0]


def _check(
    where: Path, lists: dict[str, str], exists: Callable[[str], bool], read: Callable[[str], bytes]
) -> tuple[int, int]:
    """Kernels that are there as listed, and listed files that no wheel carries. Raises KernelsIncomplete."""
    files = list(listed_files(lists))
    wanted = [(name, sha256) for name, sha256 in files if name.endswith(CARRIED)]
    absent = [name for name, _ in wanted if not exists(name)]
    _refuse(where, absent, len(wanted), "missing")
    _refuse(
        where,
        [name for name, sha256 in wanted if hashlib.sha256(read(name)).hexdigest() != sha256],
        len(wanted),
        "altered",
    )
    return len(wanted), sum(1 for name, _ in files if not name.endswith(CARRIED) and not exists(name))


def _refuse(where: Path, names: Iterable[str], total: int, what: str) -> None:
    bad = sorted(names)
    if bad:
        raise KernelsIncomplete(
            where=str(where), count=str(len(bad)), total=str(total), what=what, first=bad[0], list=CHECKSUMS
        )


def kernel_lines(engine: str, pinned: str | None, kernels: Kernels | None, projects: frozenset[str]) -> list[str]:
    """Sentences about what hosts will do with FlashInfer's kernels. `projects` are those of the set."""
    if pinned is None:
        return []
    present = projects | (kernels.projects if kernels else frozenset())
    lines = []
    if kernels is not None and kernels.files:
        lines.append(
            f"FlashInfer {pinned}: {kernels.files} kernels verified, {len(kernels.wheels)} wheels join the set"
        )
    if kernels is not None and CUBIN in kernels.projects and not kernels.files:
        lines.append(f"the wheel of {CUBIN} has no {CHECKSUMS}: whether all of its kernels are there is unknown")
    if kernels is not None and kernels.not_carried:
        lines.append(
            f"{kernels.not_carried} compiled kernels for Blackwell (.so) are listed and in no wheel: "
            "FlashInfer fetches them at first use, which a host without internet cannot"
        )
    if kernels is not None and kernels.loose is not None:
        lines.append(
            f"kernels that are in no wheel ({kernels.loose}) do not travel with the set: copy them to "
            f"hosts yourself, and "
            "name their folder with FLASHINFER_CUBIN_DIR in `serve.environment`"
        )
    if CUBIN not in present:
        lines.append(
            f"{engine} pins FlashInfer {pinned}, and the set has no {CUBIN} {pinned}: on hosts without "
            f"nvcc and ninja vLLM "
            "switches FlashInfer off (slower, and some models refuse to start); with them it compiles for "
            "minutes at the "
            "first start. `--kernels DIR` takes them along"
        )
    elif not any(project.startswith(JIT) for project in present):
        lines.append(
            f"the set has no {JIT} {pinned}: what is no cubin is compiled at the first start, which needs "
            f"nvcc and ninja"
        )
    return lines
