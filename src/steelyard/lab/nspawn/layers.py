"""Layers between the base and a host's own files: what roles installed once, kept for the next lab.

A layer is a host's upper directory without what makes it that host (names, keys, steelyard's own configuration and
units, models, logs). Big immutable trees are hard-linked, the rest is copied. Overlay whiteouts are kept as they are.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from .machine import Machine, mounted_lowers
from .paths import layer_folder

# Paths below the upper directory that belong to one host or to one site, and never to a layer.
LEFT_OUT = (
    "etc/hostname",
    "etc/hosts",
    "etc/machine-id",
    "etc/resolv.conf",
    "etc/steelyard",
    "etc/pip.conf",
    "home",
    "root",
    "models",
    "run",
    "tmp",
    "var/tmp",
    "var/cache/steelyard",
    "var/lib/steelyard",
    "var/cache/apt",
    "var/lib/systemd",
    "var/lib/private",
    "usr/lib/steelyard-lab",
    "usr/lib/steelyard",
    "srv",
    "opt/steelyard-lab",
    "etc/apt/apt.conf.d/01steelyard-mirror",
    "etc/docker/daemon.json",
    "etc/containerd/config.toml",
    "etc/containerd/certs.d",
)
# Folders that packages made and need, whose files are one host's.
EMPTIED = ("var/log", "var/lib/haproxy", "etc/haproxy", "etc/nginx/conf.d", "etc/apt-cacher-ng/zz_steelyard.conf")
LEFT_OUT_NAMES = (
    "ssh_host_",
    "steelyard-",
    "50-steelyard",
    "51steelyard",
    "lab-",
    "passwd-",
    "group-",
    "shadow-",
    "gshadow-",
)
LINKED = "opt/steelyard"
# Overlay's mark on a folder that hides the one of that name below it.
OPAQUE = "trusted.overlay.opaque"


def belongs_to_host(relative: str) -> bool:
    """Tell whether a layer must not hold it."""
    if any(relative == path or relative.startswith(path + "/") for path in LEFT_OUT):
        return True
    return relative.rsplit("/", 1)[-1].startswith(LEFT_OUT_NAMES)


def is_host_file(relative: str) -> bool:
    """Tell whether a layer must not hold a file although it holds its folder."""
    return belongs_to_host(relative) or any(relative == path or relative.startswith(path + "/") for path in EMPTIED)


def save_layer(machine: Machine, name: str) -> Path:
    """Make layer `name` from the host's upper directory; the next `lab up` starts from it. Returns its folder.

    Hosts that run on an earlier layer of that name, this one among them, keep it below them until they go.
    """
    upper, kept = machine.folder / "upper", layer_folder(name)
    made = kept.with_name(f".{name}.{1 + max(_numbers(kept), default=0)}")
    making = made.with_name(made.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    for folder, subfolders, files in os.walk(upper):
        at = os.path.relpath(folder, upper)
        prefix = "" if at == "." else at + "/"
        subfolders[:] = [sub for sub in subfolders if not belongs_to_host(prefix + sub)]
        for sub in list(subfolders):
            source = upper / prefix / sub
            if source.is_symlink():
                subfolders.remove(sub)
                files.append(sub)
                continue
            (making / prefix / sub).mkdir()
            _copy_attributes(source, making / prefix / sub)
        for file in files:
            if not is_host_file(prefix + file):
                _copy(upper / prefix / file, making / prefix / file, linked=f"{prefix}{file}".startswith(LINKED))
    for below in mounted_lowers().get(str(machine.root), []):
        if below.parent == kept.parent:
            _fill_from(below, making)
    making.rename(made)
    _point(kept, made)
    _forget(kept)
    return kept


def _numbers(kept: Path) -> list[int]:
    """Of the folders of that layer, the newest of which `kept` leads to."""
    return [int(path.suffix[1:]) for path in kept.parent.glob(f".{kept.name}.*") if path.suffix[1:].isdigit()]


def _point(kept: Path, made: Path) -> None:
    link = made.with_name(made.name + ".link")
    link.unlink(missing_ok=True)
    link.symlink_to(made.name)
    if kept.is_dir() and not kept.is_symlink():  # of a version that saved none as a link
        kept.rename(kept.with_name(f".{kept.name}.0"))
    link.replace(kept)


def _forget(kept: Path) -> None:
    """Remove earlier layers of that name on which no host runs."""
    used = {lower for lowers in mounted_lowers().values() for lower in lowers}
    if kept in used:  # by its name, and so on which folder is not known
        return
    for number in _numbers(kept):
        earlier = kept.with_name(f".{kept.name}.{number}")
        if earlier not in used and earlier != kept.resolve():
            shutil.rmtree(earlier)


def _fill_from(lower: Path, made: Path) -> None:
    """Take over what the layer below had and the host did not change, so that layers do not pile up."""
    for folder, subfolders, files in os.walk(lower):
        at = Path(os.path.relpath(folder, lower))
        # os.walk counts links to folders among the folders: made into a folder, such a link would lose what it leads to
        links = [sub for sub in subfolders if (Path(folder) / sub).is_symlink()]
        subfolders[:] = [sub for sub in subfolders if sub not in links and _same_folder(made / at / sub)]
        for sub in subfolders:
            target = made / at / sub
            if not target.exists():
                target.mkdir()
                _copy_attributes(Path(folder) / sub, target)
        for file in files + links:
            target = made / at / file
            if not os.path.lexists(target) and not is_host_file(str(at / file)):
                _copy(Path(folder) / file, target, linked=True)


def _same_folder(target: Path) -> bool:
    """False where the host deleted that folder (a whiteout), put something else there, or made it anew (opaque)."""
    if not os.path.lexists(target):
        return True
    return stat.S_ISDIR(target.lstat().st_mode) and OPAQUE not in os.listxattr(target)


def _copy(source: Path, target: Path, linked: bool) -> None:
    mode = source.lstat().st_mode
    if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
        return
    if stat.S_ISCHR(mode):  # an overlay whiteout: the file of the layer below is deleted
        os.mknod(target, mode, source.lstat().st_rdev)
        return
    if linked and stat.S_ISREG(mode):
        os.link(source, target)
        return
    shutil.copy2(source, target, follow_symlinks=False)
    if not stat.S_ISLNK(mode):
        _copy_attributes(source, target)
    else:
        os.chown(target, source.lstat().st_uid, source.lstat().st_gid, follow_symlinks=False)


def _copy_attributes(source: Path, target: Path) -> None:
    shutil.copystat(source, target)
    owner = source.stat()
    os.chown(target, owner.st_uid, owner.st_gid)
    target.chmod(stat.S_IMODE(owner.st_mode))
