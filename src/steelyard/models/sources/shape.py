"""What `models add` makes of a source's files before they become a version: pickles converted, shards of equal size.

Both are asked for by the model's declaration and kept in the cache under the source's pin, so the same declaration gives
the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from steelyard.cache import cache_folder, mark_used
from steelyard.errors import LocalProgramMissing, SourceMissing
from steelyard.models.cuts import HeaderWrong, Tensor, tensors_of
from steelyard.models.refused import is_pickle

from . import unpickle
from .record import link_or_copy, refuse

OTHER_PICKLES = re.compile(r"^(training_args|optimizer|scheduler|rng_state|scaler|random_states)")  # of a training, not weights
SHARD = re.compile(r"^(model|pytorch_model)[^/]*\.safetensors$")
SANDBOX_S = 24 * 3600


@dataclass(frozen=True)
class Shape:
    """`convert`: pickle weights become safetensors; `shard_mib`: safetensors are cut anew into files of about this size."""

    convert: bool = False
    shard_mib: int | None = None

    @property
    def changes(self) -> bool:
        return self.convert or self.shard_mib is not None


AS_IT_IS = Shape()


def shaped_folder(uri: str, paths: dict[str, Path], shape: Shape) -> Path:
    """Where the shaped files of a source lie. A local source has no pin: its files' sizes and times stand for it."""
    stats = [(name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in sorted(paths.items())]
    key = json.dumps([uri, stats if uri.startswith("file://") else sorted(paths), shape.convert, shape.shard_mib])
    return cache_folder() / "shaped" / hashlib.sha256(key.encode()).hexdigest()[:32]


def shaped(uri: str, paths: dict[str, Path], shape: Shape, model: str, where: str) -> dict[str, Path]:
    """The shaped files, which `models add` has made. Raises SourceMissing."""
    folder = shaped_folder(uri, paths, shape)
    if not folder.is_dir():
        how = f"`steelyard models add {model} VERSION --source {uri}` with the same options makes it"
        raise SourceMissing(where=where, model=model, source=f"{uri}, converted or cut anew: not made on this machine; {how}")
    mark_used(folder)
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def make_shaped(uri: str, paths: dict[str, Path], shape: Shape, model: str) -> Path:
    """Make them, if they are not there. Raises SourceRefused, LocalProgramMissing."""
    folder = shaped_folder(uri, paths, shape)
    if folder.is_dir():
        return folder
    made = folder.with_name(folder.name + f".{os.getpid()}")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True, mode=0o700)
    try:
        for name, path in paths.items():
            if not (shape.convert and is_pickle(name)):
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(path, made / name)
        if shape.convert:
            _convert(uri, paths, made, model)
        if shape.shard_mib is not None:
            _cut_anew(made, shape.shard_mib << 20, uri, model)
        made.rename(folder)
    except OSError as error:
        raise refuse(str(folder), model, str(error.filename or "the cache"), error.strerror or str(error)) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


# Pickles


def _convert(uri: str, paths: dict[str, Path], made: Path, model: str) -> None:
    for name, path in paths.items():
        if not is_pickle(name) or OTHER_PICKLES.match(Path(name).name):
            continue
        target = made / _renamed(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(sandboxed(path.resolve(), target), capture_output=True, text=True, timeout=SANDBOX_S, check=False)
        if done.returncode != 0:
            raise refuse(uri, model, name, (done.stderr.strip().splitlines() or ["the converter ended without a word"])[-1])
        _checked(target, uri, model, name)
    for index in [path for path in made.rglob("*.bin.index.json") if path.is_file()]:
        found = json.loads(index.read_text())
        found["weight_map"] = {tensor: _renamed(file) for tensor, file in found.get("weight_map", {}).items()}
        index.unlink()
        index.with_name(_renamed(index.name.removesuffix(".index.json")) + ".index.json").write_text(json.dumps(found))


def _renamed(name: str) -> str:
    """`pytorch_model-00001-of-00002.bin` as engines look for it."""
    path = Path(name).with_suffix(".safetensors")
    return str(path.with_name(path.name.replace("pytorch_model", "model", 1)))


def _checked(path: Path, uri: str, model: str, name: str) -> None:
    try:
        tensors_of(path)
    except HeaderWrong as error:
        raise refuse(uri, model, name, f"what it was converted to is wrong: {error}") from error


def sandboxed(source: Path, target: Path) -> list[str]:
    """The converter's command line: no network, no capability, a file system of Python, this checkpoint and one folder."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise LocalProgramMissing(where="models add", program="bwrap", package="bubblewrap")
    words = [
        bwrap,
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--clearenv",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]
    real = Path(sys.executable).resolve()
    for place in dict.fromkeys(["/usr", "/lib", "/lib64", "/bin", str(real.parent.parent), sysconfig.get_paths()["stdlib"]]):
        words += ["--ro-bind-try", place, place]
    script = Path(unpickle.__file__)
    words += ["--ro-bind", str(script), "/unpickle.py", "--ro-bind", str(source), "/in", "--bind", str(target.parent), "/out"]
    return [*words, str(real), "-I", "-B", "/unpickle.py", "/in", f"/out/{target.name}"]


# Shards


def _cut_anew(folder: Path, size: int, uri: str, model: str) -> None:
    """Tensors in their natural order, into as many files as make each about `size` bytes; with an index where it is several."""
    parts = sorted(path for path in folder.iterdir() if SHARD.match(path.name))
    tensors: list[tuple[Path, Tensor]] = []
    for path in parts:
        try:
            tensors += [(path, tensor) for tensor in tensors_of(path)]
        except HeaderWrong as error:
            raise refuse(uri, model, path.name, str(error)) from error
    if not tensors:
        raise refuse(uri, model, "model.safetensors", "there are no safetensors to cut anew; `convert` makes them of pickles")
    names = [tensor.name for _, tensor in tensors]
    if len(set(names)) != len(names):
        raise refuse(uri, model, parts[0].name, "two files have a tensor of the same name")
    tensors.sort(key=lambda entry: _natural(entry[1].name))
    groups = list(even(tensors, size))
    places: dict[str, str] = {}
    for number, group in enumerate(groups, start=1):
        name = "model.safetensors" if len(groups) == 1 else f"model-{number:05}-of-{len(groups):05}.safetensors"
        _write(folder / f".{name}", group)
        places |= {tensor.name: name for _, tensor in group}
    for path in [*parts, *folder.glob("*.safetensors.index.json")]:
        path.unlink()
    for name in dict.fromkeys(places.values()):
        (folder / f".{name}").rename(folder / name)
    if len(groups) > 1:
        total = sum(tensor.end - tensor.start for _, tensor in tensors)
        index = {"metadata": {"total_size": total}, "weight_map": places}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


def _natural(name: str) -> list[tuple[int, str]]:
    """`layers.9` before `layers.10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def even(tensors: list[tuple[Path, Tensor]], size: int) -> Iterator[list[tuple[Path, Tensor]]]:
    """Groups of about equal bytes, in order; no empty one."""
    total = sum(tensor.end - tensor.start for _, tensor in tensors)
    count = max(1, round(total / size))
    group: list[tuple[Path, Tensor]] = []
    done = made = 0
    for entry in tensors:
        group.append(entry)
        done += entry[1].end - entry[1].start
        if done * count >= (made + 1) * total and made < count - 1:
            yield group
            group, made = [], made + 1
    if group:
        yield group


def _write(target: Path, group: list[tuple[Path, Tensor]]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for _, tensor in group:
        size = tensor.end - tensor.start
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with target.open("xb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for path, tensor in group:
            with path.open("rb") as stream:
                stream.seek(tensor.start)
                left = tensor.end - tensor.start
                while left:
                    data = stream.read(min(left, 8 << 20))
                    if not data:
                        raise OSError(5, "it became shorter while it was read", str(path))
                    out.write(data)
                    left -= len(data)
