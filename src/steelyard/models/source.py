"""Where weights come from, as the controller sees it: a folder becomes a manifest, its hashes are computed once.

Pickle weights, broken links and names that differ by case only are refused, and every safetensors header is checked before its bytes
travel. The hashes are kept in the cache under path, size and mtime, so a second plan reads nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from steelyard.cache import cache_folder
from steelyard.errors import SourceMissing, SourceRefused

from .cuts import HeaderWrong, Tensor
from .hub import fetched, parse, snapshot
from .manifest import FORMAT, File, Manifest, chunk_size_of, read_file, tensor_hashes
from .refused import refused_name


def source_folder(source: str) -> Path:
    """Where a source's files lie on this machine."""
    return snapshot(parse(source, source)) if source.startswith("hf://") else Path(source.removeprefix("file://"))


def read_manifest(model: str, source: str, where: str, code: bool = False) -> Manifest:
    """The manifest of a source. Raises SourceMissing, SourceRefused, SourceWrong. Reads new or changed files whole, once."""
    folder = source_folder(source)
    if source.startswith("hf://"):
        paths = fetched(parse(source, where), model, where)
        for name, path in paths.items():
            _refuse(model, folder, name, _refusal(path, name, code))
    else:
        if not folder.is_dir():
            raise SourceMissing(where=where, model=model, source=str(folder))
        paths = files_of(model, folder, code)
    if not paths:
        raise SourceMissing(where=where, model=model, source=f"{folder} (empty)")
    chunk = chunk_size_of(paths.values())
    files: dict[str, File] = {}
    tensors: dict[str, dict[str, Any]] = {}
    for name, path in paths.items():
        try:
            files[name], found = kept_file(path, chunk)
        except HeaderWrong as error:
            raise SourceRefused(where=str(folder), model=model, file=name, why=str(error)) from error
        except OSError as error:
            raise SourceRefused(where=str(folder), model=model, file=name, why=error.strerror or str(error)) from error
        if found:
            tensors[name] = tensor_hashes(files[name], found)
    return Manifest.of(files, tensors)


def files_of(model: str, folder: Path, code: bool) -> dict[str, Path]:
    """Name below the folder -> file, hidden ones left out. Raises SourceRefused for what may not be served."""
    found: dict[str, Path] = {}
    alike: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or any(part.startswith(".") for part in Path(name).parts):
            continue
        why = _refusal(path, name, code)
        other = alike.setdefault(name.casefold(), name)
        if other != name:
            why = f"`{other}` differs from it by case only"
        _refuse(model, folder, name, why)
        found[name] = path
    return found


def _refuse(model: str, folder: Path, name: str, why: str | None) -> None:
    if why is not None:
        shown = name.encode(errors="backslashreplace").decode()
        raise SourceRefused(where=str(folder), model=model, file=shown, why=why)


def _refusal(path: Path, name: str, code: bool) -> str | None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if not name.isprintable():
        return "its name has characters that cannot be printed"
    if not path.is_file():
        return "a broken link" if path.is_symlink() else "neither a file nor a folder"
    return refused_name(name, code)


def kept_file(path: Path, chunk: int) -> tuple[File, list[Tensor]]:
    """Hashes of a file; from the cache where path, size, mtime and cuts are those they were computed for."""
    found = path.stat()
    key = f"{path.resolve()}\0{found.st_size}\0{found.st_mtime_ns}\0{chunk}\0{FORMAT}"
    kept = cache_folder() / "hashes" / hashlib.sha256(key.encode()).hexdigest()
    try:
        known = json.loads(kept.read_text())
        tensors = [Tensor(name, dtype, tuple(shape), start, end) for name, dtype, shape, start, end in known["tensors"]]
        return File.of_json(known["file"]), tensors
    except (OSError, ValueError, KeyError, TypeError):
        pass
    file, tensors = read_file(path, chunk)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged = kept.with_suffix(f".{os.getpid()}")
        listed = [[tensor.name, tensor.dtype, tensor.shape, tensor.start, tensor.end] for tensor in tensors]
        staged.write_text(json.dumps({"file": file.as_json(), "tensors": listed}))
        staged.rename(kept)
    except OSError:
        pass  # the next run hashes again
    return file, tensors
