"""One hash of everything that ansible-core would read of an inventory: what is kept of it is of these files, or of
others.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from steelyard import __version__
from steelyard.dirs import cache_folder, layers_of, resolved_name

from .stamps import Stamps, files_below

BESIDE = ("group_vars", "host_vars")
CONFIGURATION = ("ansible.cfg", "~/.ansible.cfg", "/etc/ansible/ansible.cfg")


def kept_place(path: Path) -> Path:
    """Return the path of the file that keeps what was read of this inventory."""
    return cache_folder() / "inventory" / hashlib.sha256(resolved_name(path).encode()).hexdigest()[:32]


def source_digest(path: Path) -> str | None:
    """Hash of everything ansible-core would read; None where a source is a program, a plugin's description, or
    encrypted whole.
    """
    whole = hashlib.sha256(f"{_readers_version()} {__version__}".encode())
    for name in sorted(name for name in os.environ if name.startswith("ANSIBLE_")):
        whole.update(f"\0{name}={os.environ[name]}".encode())
    for configuration in (Path(name).expanduser() for name in CONFIGURATION):
        if configuration.is_file():
            whole.update(b"\0" + configuration.read_bytes())
    stamps = Stamps(kept_place(path).with_suffix(".stamps"))
    try:
        # the same word for the same files, however they were named
        for file in (file for layer in layers_of(path) for file in _files(layer.absolute())):
            noted = stamps.of(file)
            if not set(BESIDE) & set(file.split("/")) and (os.access(file, os.X_OK) or not noted.is_static):
                return None
            whole.update(f"\0{file}\0{noted.sha256}".encode())
    except OSError:
        return None  # the reader says what is wrong
    finally:
        stamps.keep()
    return whole.hexdigest()


def _readers_version() -> str:
    """ansible-core's, without importing it, nor the parser that package metadata needs."""
    spec = find_spec("ansible")
    origin = spec.origin if spec is not None else None
    return (Path(origin).parent / "release.py").read_text() if origin else ""


def _files(path: Path) -> Iterator[str]:
    """Sources, and the variable files beside them and in the working directory, which Ansible reads too."""
    if path.is_dir():
        yield from files_below(str(path))
    else:
        yield str(path)
    for base in {path.parent, Path.cwd()} - ({path} if path.is_dir() else set()):
        for name in BESIDE:
            yield from files_below(str(base / name))
