"""Simulates NVIDIA's apt repositories: our own dummy packages, signed, served by the lab's mirror host.

Folders as NVIDIA has them (debian12/x86_64, debian13/x86_64), one more with packages of another origin, and two signing
keys, so that a rotation can be played. Kernel modules are object files with nothing but what modinfo reads.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from steelyard.lab.nspawn.machine import place_enabled_unit
from steelyard.lab.nspawn.paths import cache_root
from steelyard.lab.nspawn.programs import run

from . import debs, nvidia_packages
from .gpu import SOURCE

PORT = 3190
INSIDE = "/srv/steelyard-lab/nvidia"
DISTROS = ("debian12", "debian13")
UNIT = f"""\
[Unit]
Description=simulated NVIDIA repository
After=network.target

[Service]
DynamicUser=yes
ExecStart=/usr/bin/python3 -m http.server {PORT} --directory {INSIDE}
Restart=always

[Install]
WantedBy=multi-user.target
"""
RECIPE = (Path(__file__), Path(debs.__file__), Path(nvidia_packages.__file__), SOURCE)
_MODULE = (
    'static const char v[] __attribute__((section(".modinfo"), used)) = '
    '"version=%s\\0license=%s\\0description=simulated";'
)


def root() -> Path:
    return cache_root() / "nvidia"


def keys() -> Path:
    """Private halves stay on this machine; the folder that is served has none."""
    return cache_root() / "nvidia-keys"


def ensure(say: Callable[[str], None]) -> Path:
    """The served folder; made once per recipe."""
    mark, digest = root() / ".recipe", hashlib.sha256(b"".join(path.read_bytes() for path in RECIPE)).hexdigest()
    if mark.exists() and mark.read_text() == digest:
        return root()
    say("making the simulated NVIDIA repository")
    first = root() / DISTROS[0] / "x86_64"
    first.mkdir(parents=True, exist_ok=True)
    for stale in first.glob("*"):
        stale.unlink()
    paragraphs = [debs.build(deb, first) for deb in nvidia_packages.driver_packages(_modules(), _libraries())]
    for name in ("nvidia", "nvidia-next"):
        debs.make_key(keys(), name)
    debs.publish(first, paragraphs, keys(), "nvidia", "NVIDIA")
    for distro in DISTROS[1:]:
        debs.copy_repository(first, root() / distro / "x86_64")
    for folder, origin, packages in (
        ("toolkit", "NVIDIA", nvidia_packages.toolkit_packages()),
        ("other", "Debian", nvidia_packages.other_origin()),
    ):
        made = root() / folder
        made.mkdir(exist_ok=True)
        debs.publish(made, [debs.build(deb, made) for deb in packages], keys(), "nvidia", origin)
    mark.write_text(digest)
    return root()


def sign_with(signer: str) -> None:
    """Sign every folder's index anew with one of the two keys, as a rotation does."""
    for distro in DISTROS:
        debs.sign(root() / distro / "x86_64", keys(), signer)


def public_key(signer: str = "nvidia") -> Path:
    return keys() / f"{signer}.gpg"


def install(host_root: Path) -> None:
    """The server's unit, on the mirror host."""
    place_enabled_unit(host_root, "lab-nvidia.service", UNIT, "multi-user.target")


def _modules() -> dict[str, bytes]:
    licences = {"open": "Dual MIT/GPL", "proprietary": "NVIDIA"}
    modules = {}
    with tempfile.TemporaryDirectory() as made:
        for version in (*nvidia_packages.VERSIONS, nvidia_packages.UNSOLVABLE):
            for flavour, licence in licences.items():
                source, target = Path(made) / "nvidia.c", Path(made) / "nvidia.ko"
                source.write_text(_MODULE % (version, licence))
                run("cc", "-c", "-o", target, source)
                modules[f"{version}-{flavour}"] = target.read_bytes()
    return modules


def _libraries() -> dict[str, bytes]:
    """The simulated NVML per version: it refuses a module of another version, as the real one does."""
    modules = {}
    with tempfile.TemporaryDirectory() as made:
        for version in (*nvidia_packages.VERSIONS, nvidia_packages.UNSOLVABLE):
            target = Path(made) / version
            run(
                "cc",
                "-shared",
                "-fPIC",
                "-O2",
                f'-DLIBRARY_VERSION="{version}"',
                "-o",
                target,
                SOURCE,
                "-Wl,-soname,libnvidia-ml.so.1",
            )
            modules[version] = target.read_bytes()
    return modules
