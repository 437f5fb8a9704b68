"""The policy for files of a version: which names may be in it, and the refusal of those that may not. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from steelyard.errors import SourceRefused
from steelyard.errors.visible import one_line

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
CODE = (".py", ".so", ".sh", ".pyc")


def is_pickle(name: str) -> bool:
    """True for names that pickles have."""
    return PurePosixPath(name).suffix.lower() in PICKLES


def refusal_of(name: str, code: bool) -> str | None:
    """The reason why a file may not be served; None where it may. `code`: the model is allowed to bring some."""
    if is_pickle(name):
        return "pickle weights"
    if PurePosixPath(name).suffix.lower() in CODE and not code:
        return "code, which an engine may run; allow it with `code: true`"
    return None


def allowed_files(names: Iterable[str], code: bool, pickles: bool) -> tuple[list[str], tuple[str, str] | None]:
    """Names that a version is made of, and the first one that must not come, with the reason.

    Hidden files are left out, and pickles that lie beside safetensors; pickles alone come only where they will be
    converted. A name that leads elsewhere is looked at first: `../x` is no hidden file.
    """
    everything = list(names)
    for name in everything:
        why = name_wrong(name)
        if why is not None:
            return [], (name, why)
    tensors = any(name.endswith(".safetensors") for name in everything)
    wanted = []
    for name in everything:
        if any(part.startswith(".") for part in PurePosixPath(name).parts) or (is_pickle(name) and tensors):
            continue
        why = refusal_of(name, code)
        if why is not None and not (pickles and is_pickle(name)):
            return [], (name, why)
        wanted.append(name)
    return wanted, None


def refuse(where: str, model: str, file: str, why: str) -> SourceRefused:
    """The error for a file that may not be in a version; its name is made printable."""
    printable = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "replace").decode() for letter in file
    )
    shown = printable.encode(errors="backslashreplace").decode()
    return SourceRefused(where=where, model=model, file=shown, why=why)


def same_when_folded(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two names that differ by case only: on some file systems one of them would be lost."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            return other, name
    return None


def name_wrong(name: str) -> str | None:
    """The reason why nothing of this name is written or removed, whatever its source; None where it may be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if leaves_folder(name):
        return "its name leaves the folder"
    return None if one_line(name) == name else "its name has characters that cannot be printed"


def leaves_folder(name: str) -> bool:
    """True for a name that leads out of the folder it counts from, or to no file at all."""
    parts = Path(name).parts
    return not parts or name.startswith("/") or "\\" in name or ".." in parts or "\0" in name
