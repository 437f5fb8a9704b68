"""What a model is declared to be made of, as the controller sees it: files become a manifest, their hashes are computed once.

Pickle weights, broken links and names that differ by case only are refused, and every safetensors header is checked before its bytes
travel. The hashes are kept in the cache under path, size and mtime, so a second plan reads nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from steelyard.cache import cache_folder, mark_used
from steelyard.errors import SourceAltered, SourceMissing, SourceRefused

from . import gguf
from .cuts import HeaderWrong, Tensor
from .fit import figures
from .manifest import FORMAT, File, Manifest, Origin, chunk_size_of, read_file, tensor_hashes
from .refused import refused_name, wanted_names
from .sources import fetched, is_local
from .sources.record import Record, altered, refuse, same_when_folded
from .sources.shape import AS_IT_IS, Shape, make_shaped, shaped, shaped_folder


class Weights(NamedTuple):
    """A version on this machine: its manifest, and the folder that its files' names count from."""

    manifest: Manifest
    folder: Path


def weights(model: str, source: str, where: str, code: bool = False, shape: Shape = AS_IT_IS, make: bool = False) -> Weights:
    """A declared source. Reads new or changed files whole, once; `make`: shapes it where that was not done yet.

    Raises SourceMissing, SourceAltered, SourceRefused, SourceWrong, LocalProgramMissing.
    """
    origin, record = Origin(source, None, None), None
    if is_local(source):
        folder = Path(source.removeprefix("file://"))
        if not folder.is_dir():
            raise SourceMissing(where=where, model=model, source=str(folder))
        paths = files_of(model, folder, code, shape.convert)
    else:
        record = fetched(source, model, where)
        folder, paths = Path(record.folder), record.paths
        origin = Origin(source, record.commit, record.licence)
    if not paths:
        raise SourceMissing(where=where, model=model, source=f"{folder} (empty)")
    if shape.changes:
        if make:
            make_shaped(source, paths, shape, model)
        folder, paths = shaped_folder(source, paths, shape), shaped(source, paths, shape, model, where)
    for name, path in paths.items():
        _refuse(model, folder, name, _refusal(path, name, code, False))
    found = Weights(_manifest(model, folder, paths, origin), folder)
    if record is not None and not shape.changes:
        _hold(model, record, found.manifest, where)
    return found


def _hold(model: str, record: Record, manifest: Manifest, where: str) -> None:
    """A pin names content: what lies here has to be it still."""
    name = altered(record, lambda name: manifest.files[name].sha256)
    if name is not None:
        raise SourceAltered(where=where, model=model, file=name, folder=record.folder, source=record.source)


def read_manifest(model: str, source: str, where: str, code: bool = False) -> Manifest:
    """The manifest of a source as it is. Raises as `weights` does."""
    return weights(model, source, where, code).manifest


def _manifest(model: str, folder: Path, paths: dict[str, Path], origin: Origin) -> Manifest:
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
    fit = gguf.figures(paths) or figures(_config(paths), tensors)
    return Manifest.of(files, tensors, origin, fit)


def _config(paths: dict[str, Path]) -> dict[str, Any]:
    try:
        found = json.loads(paths["config.json"].read_text())
    except (KeyError, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def files_of(model: str, folder: Path, code: bool, pickles: bool) -> dict[str, Path]:
    """Name below the folder -> file; hidden ones left out, and pickles beside safetensors. Raises SourceRefused."""
    found = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    shown = {name: path for name, path in found.items() if not any(part.startswith(".") for part in Path(name).parts)}
    for name, path in shown.items():
        _refuse(model, folder, name, _refusal(path, name, code=True, pickles=True))
    folded = same_when_folded(shown)
    if folded is not None:
        _refuse(model, folder, folded[1], f"`{folded[0]}` differs from it by case only")
    if not pickles:  # a folder that somebody made is taken as it is: what may not be served is refused, and not left out
        for name in shown:
            _refuse(model, folder, name, refused_name(name, code))
    names, refused = wanted_names(shown, code, pickles)
    if refused is not None:
        _refuse(model, folder, *refused)
    return {name: shown[name] for name in names}


def _refuse(model: str, folder: Path, name: str, why: str | None) -> None:
    if why is not None:
        raise refuse(str(folder), model, name, why)


def _refusal(path: Path, name: str, code: bool, pickles: bool) -> str | None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if not name.isprintable():
        return "its name has characters that cannot be printed"
    if not path.is_file():
        return "a broken link" if path.is_symlink() else "neither a file nor a folder"
    return None if pickles else refused_name(name, code)


def kept_file(path: Path, chunk: int) -> tuple[File, list[Tensor]]:
    """Hashes of a file; from the cache where path, size, mtime and cuts are those they were computed for."""
    found = path.stat()
    key = f"{path.resolve()}\0{found.st_size}\0{found.st_mtime_ns}\0{chunk}\0{FORMAT}"
    kept = cache_folder() / "hashes" / hashlib.sha256(key.encode()).hexdigest()
    try:
        known = json.loads(kept.read_text())
        tensors = [Tensor(name, dtype, tuple(shape), start, end) for name, dtype, shape, start, end in known["tensors"]]
        mark_used(kept)
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
