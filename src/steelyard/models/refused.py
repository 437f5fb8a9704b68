"""What a version may not hold, by name. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
CODE = (".py", ".so", ".sh", ".pyc")


def is_pickle(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICKLES


def refused_name(name: str, code: bool) -> str | None:
    """Why a file may not be served; None where it may. `code`: the model is allowed to bring some."""
    if is_pickle(name):
        return "pickle weights"
    if PurePosixPath(name).suffix.lower() in CODE and not code:
        return "code, which an engine may run; allow it with `code: true`"
    return None


def wanted_names(names: Iterable[str], code: bool, pickles: bool) -> tuple[list[str], tuple[str, str] | None]:
    """Names that a version is made of, and the first one that must not come, with the reason.

    Hidden files are left out, and pickles that lie beside safetensors; pickles alone come only where they will be converted.
    """
    everything = list(names)
    tensors = any(name.endswith(".safetensors") for name in everything)
    wanted = []
    for name in everything:
        if any(part.startswith(".") for part in PurePosixPath(name).parts) or (is_pickle(name) and tensors):
            continue
        why = refused_name(name, code)
        if why is not None and not (pickles and is_pickle(name)):
            return [], (name, why)
        wanted.append(name)
    return wanted, None
