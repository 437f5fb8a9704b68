"""The resolution of a declared source to files and a manifest, whose hashes are computed once.

Pickle weights, broken links and names that differ by case only are refused, and every safetensors header is checked
before its bytes travel. The hashes are kept in the cache under path, size and mtime, so a second plan reads nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from steelyard.dirs import cache_folder, mark_used
from steelyard.errors import SourceAltered, SourceMissing, SourceRefused
from steelyard.models.content import gguf
from steelyard.models.content.file_policy import allowed_files, refusal_of, refuse, same_when_folded
from steelyard.models.content.manifest import (
    FORMAT,
    Manifest,
    ManifestFile,
    Provenance,
    Tensors,
    chunk_size_of,
    read_file,
    tensor_hashes,
)
from steelyard.models.content.safetensors import HeaderWrong, TensorInfo
from steelyard.models.fit.footprint import memory_footprint
from steelyard.site.schema import NO_CONVERSION, Conversion

from . import fetched, is_local
from .convert import convert_files, converted_files, converted_folder
from .record import Record, altered_file


class LocalVersion(NamedTuple):
    """A version on this machine: its manifest, and the folder that its files' names count from."""

    manifest: Manifest
    folder: Path


OnProgress = Callable[[int, int], None]


def ignore_progress(done: int, total: int) -> None:
    """Hear how far the reading is, and do nothing."""


def resolve_version(
    model: str,
    source: str,
    where: str,
    code: bool = False,
    conversion: Conversion = NO_CONVERSION,
    make: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> LocalVersion:
    """The version of a declared source on this machine.

    Reads new or changed files whole, once; `make`: shapes it where that was not done yet.

    `on_progress`: is told how many bytes of all have been read, or need not be.

    Raises SourceMissing, SourceAltered, SourceRefused, SourceWrong, LocalProgramMissing.
    """
    origin, record = Provenance(source, None, None), None
    if is_local(source):
        folder = Path(source.removeprefix("file://"))
        if not folder.is_dir():
            raise SourceMissing(where=where, model=model, source=str(folder))
        paths = files_of(model, folder, code, conversion.convert)
    else:
        record = fetched(source, model, where)
        folder, paths = Path(record.folder), record.paths
        origin = Provenance(source, record.commit, record.licence)
    if not paths:
        raise SourceMissing(where=where, model=model, source=f"{folder} (empty)")
    if conversion.changes:
        if make:
            convert_files(source, paths, conversion, model)
        folder, paths = (
            converted_folder(source, paths, conversion),
            converted_files(source, paths, conversion, model, where),
        )
    for name, path in paths.items():
        _refuse(model, folder, name, _reason(path, name, code, False))
    local = LocalVersion(_manifest(model, folder, paths, origin, on_progress), folder)
    if record is not None and not conversion.changes:
        _verify_pin(model, record, local.manifest, where)
    return local


def _verify_pin(model: str, record: Record, manifest: Manifest, where: str) -> None:
    """A pin names content: what lies here has to be it still."""
    name = altered_file(record, lambda name: manifest.files[name].sha256)
    if name is not None:
        raise SourceAltered(where=where, model=model, file=name, folder=record.folder, source=record.source)


def read_manifest(model: str, source: str, where: str, code: bool = False) -> Manifest:
    """The manifest of a source as it is. Raises as `weights` does."""
    return resolve_version(model, source, where, code).manifest


def _manifest(
    model: str, folder: Path, paths: dict[str, Path], origin: Provenance, on_progress: OnProgress
) -> Manifest:
    chunk, before = chunk_size_of(paths.values()), 0
    total = sum(path.stat().st_size for path in paths.values())

    def count(read: int) -> None:
        nonlocal before
        before += read
        on_progress(before, total)

    files: dict[str, ManifestFile] = {}
    tensors: Tensors = {}
    for name, path in paths.items():
        try:
            files[name], infos = cached_hashes(path, chunk, count)
        except HeaderWrong as error:
            raise SourceRefused(where=str(folder), model=model, file=name, why=str(error)) from error
        except OSError as error:
            raise SourceRefused(where=str(folder), model=model, file=name, why=error.strerror or str(error)) from error
        if infos:
            tensors[name] = tensor_hashes(files[name], infos)
    footprint = gguf.memory_footprint(paths) or memory_footprint(_config(paths), tensors)
    return Manifest.of(files, tensors, origin, footprint)


def _config(paths: dict[str, Path]) -> dict[str, Any]:
    try:
        document = json.loads(paths["config.json"].read_text())
    except (KeyError, OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def files_of(model: str, folder: Path, code: bool, pickles: bool) -> dict[str, Path]:
    """The files of a folder, by their names below it; hidden ones left out, and pickles beside safetensors.

    Raises SourceRefused.
    """
    paths = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    visible = {name: path for name, path in paths.items() if not any(part.startswith(".") for part in Path(name).parts)}
    for name, path in visible.items():
        _refuse(model, folder, name, _reason(path, name, code=True, pickles=True))
    folded = same_when_folded(visible)
    if folded is not None:
        _refuse(model, folder, folded[1], f"`{folded[0]}` differs from it by case only")
    if (
        not pickles
    ):  # a folder that somebody made is taken as it is: what may not be served is refused, and not left out
        for name in visible:
            _refuse(model, folder, name, refusal_of(name, code))
    names, refused = allowed_files(visible, code, pickles)
    if refused is not None:
        _refuse(model, folder, *refused)
    return {name: visible[name] for name in names}


def _refuse(model: str, folder: Path, name: str, why: str | None) -> None:
    if why is not None:
        raise refuse(str(folder), model, name, why)


def _reason(path: Path, name: str, code: bool, pickles: bool) -> str | None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if not name.isprintable():
        return "its name has characters that cannot be printed"
    if not path.is_file():
        return "a broken link" if path.is_symlink() else "neither a file nor a folder"
    return None if pickles else refusal_of(name, code)


def cached_hashes(
    path: Path, chunk: int, count: Callable[[int], None] = lambda read: None
) -> tuple[ManifestFile, list[TensorInfo]]:
    """Hashes of a file, whose bytes are told to `count`; from the cache where path, size, mtime and cuts are those they
    were computed for.
    """
    stat = path.stat()
    key = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0{chunk}\0{FORMAT}"
    cached = cache_folder() / "hashes" / hashlib.sha256(key.encode()).hexdigest()
    try:
        known = json.loads(cached.read_text())
        tensors = [
            TensorInfo(name, dtype, tuple(shape), start, end) for name, dtype, shape, start, end in known["tensors"]
        ]
        mark_used(cached)
        count(stat.st_size)
        return ManifestFile.of_json(known["file"]), tensors
    except (OSError, ValueError, KeyError, TypeError):
        pass
    file, tensors = read_file(path, chunk, count)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged = cached.with_suffix(f".{os.getpid()}")
        listed = [[tensor.name, tensor.dtype, tensor.shape, tensor.start, tensor.end] for tensor in tensors]
        staged.write_text(json.dumps({"file": file.as_json(), "tensors": listed}))
        staged.rename(cached)
    except OSError:
        pass  # the next run hashes again
    return file, tensors
