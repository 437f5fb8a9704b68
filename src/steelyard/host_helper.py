"""Builds the helper for hosts: one zipapp, the same bytes for the same sources, pynvml vendored from nvidia-ml-py."""

from __future__ import annotations

import io
import zipfile
from functools import lru_cache
from importlib import import_module
from pathlib import Path

HELPER = "/usr/lib/steelyard/steelyard-host.pyz"
RUN_HELPER = f"python3 -I {HELPER}"
IDLE = "ionice -c 3 nice -n 19"  # before it: what serves goes first


@lru_cache
def helper_bytes() -> bytes:
    """The zipapp's content."""
    import steelyard_host

    folder = Path(str(steelyard_host.__file__)).parent
    members = {f"steelyard_host/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.py"))}
    members["pynvml.py"] = Path(str(import_module("pynvml").__file__)).read_bytes()
    members["__main__.py"] = b"import sys\nfrom steelyard_host.__main__ import main\n\nsys.exit(main())\n"
    stream = io.BytesIO(b"")
    stream.write(b"#!/usr/bin/python3 -I\n")
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(members.items()):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return stream.getvalue()
