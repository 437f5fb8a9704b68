"""What a version may not hold, by name. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
CODE = (".py", ".so", ".sh", ".pyc")


def refused_name(name: str, code: bool) -> str | None:
    """Why a file may not be served; None where it may. `code`: the model is allowed to bring some."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in PICKLES:
        return "pickle weights"
    if suffix in CODE and not code:
        return "code, which an engine may run; allow it with `code: true`"
    return None
