"""The files that `models add` makes of a source's files before they become a version: pickles converted, shards of
equal size.

Both are asked for by the model's declaration and kept in the cache under the source's pin, so the same declaration
gives the same bytes on every machine.
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
from pathlib import Path

from steelyard.dirs import cache_folder, mark_used
from steelyard.errors import LocalProgramMissing, SourceMissing
from steelyard.models.content.file_policy import is_pickle, refuse
from steelyard.models.content.safetensors import HeaderWrong, TensorInfo, tensors_of
from steelyard.site.schema import Conversion

from . import unpickle
from .record import link_or_copy

OTHER_PICKLES = re.compile(
    r"^(training_args|optimizer|scheduler|rng_state|scaler|random_states)"
)  # of a training, not weights
SHARD = re.compile(r"^(model|pytorch_model)[^/]*\.safetensors$")
SANDBOX_S = 24 * 3600


def converted_folder(uri: str, paths: dict[str, Path], conversion: Conversion) -> Path:
    """The folder of a source's converted files. A local source has no pin: its files' sizes and times stand for it."""
    stats = [(name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in sorted(paths.items())]
    key = json.dumps(
        [uri, stats if uri.startswith("file://") else sorted(paths), conversion.convert, conversion.shard_mib]
    )
    return cache_folder() / "shaped" / hashlib.sha256(key.encode()).hexdigest()[:32]


def converted_files(
    uri: str, paths: dict[str, Path], conversion: Conversion, model: str, where: str
) -> dict[str, Path]:
    """The converted files, which `models add` has made. Raises SourceMissing."""
    folder = converted_folder(uri, paths, conversion)
    if not folder.is_dir():
        how = f"`steelyard models add {model} VERSION --source {uri}` with the same options makes it"
        raise SourceMissing(
            where=where, model=model, source=f"{uri}, converted or cut anew: not made on this machine; {how}"
        )
    mark_used(folder)
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def convert_files(uri: str, paths: dict[str, Path], conversion: Conversion, model: str) -> Path:
    """Make the converted files, if they are not there. Raises SourceRefused, LocalProgramMissing."""
    folder = converted_folder(uri, paths, conversion)
    if folder.is_dir():
        return folder
    made = folder.with_name(folder.name + f".{os.getpid()}")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True, mode=0o700)
    try:
        for name, path in paths.items():
            if not (conversion.convert and is_pickle(name)):
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(path, made / name)
        if conversion.convert:
            _convert(uri, paths, made, model)
        if conversion.shard_mib is not None:
            _reshard(made, conversion.shard_mib << 20, uri, model)
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
        done = subprocess.run(
            sandboxed_argv(path.resolve(), target), capture_output=True, text=True, timeout=SANDBOX_S, check=False
        )
        if done.returncode != 0:
            raise refuse(
                uri, model, name, (done.stderr.strip().splitlines() or ["the converter ended without a word"])[-1]
            )
        _checked(target, uri, model, name)
    for index in [path for path in made.rglob("*.bin.index.json") if path.is_file()]:
        document = json.loads(index.read_text())
        document["weight_map"] = {tensor: _renamed(file) for tensor, file in document.get("weight_map", {}).items()}
        index.unlink()
        index.with_name(_renamed(index.name.removesuffix(".index.json")) + ".index.json").write_text(
            json.dumps(document)
        )


def _renamed(name: str) -> str:
    """`pytorch_model-00001-of-00002.bin` as engines look for it."""
    path = Path(name).with_suffix(".safetensors")
    return str(path.with_name(path.name.replace("pytorch_model", "model", 1)))


def _checked(path: Path, uri: str, model: str, name: str) -> None:
    try:
        tensors_of(path)
    except HeaderWrong as error:
        raise refuse(uri, model, name, f"what it was converted to is wrong: {error}") from error


def sandboxed_argv(source: Path, target: Path) -> list[str]:
    """The converter's command line.

    It has no network, no capability, and a file system of Python, this checkpoint and one folder.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise LocalProgramMissing(where="models add", program="bwrap", package="bubblewrap")
    argv = [
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
    for place in dict.fromkeys(
        ["/usr", "/lib", "/lib64", "/bin", str(real.parent.parent), sysconfig.get_paths()["stdlib"]]
    ):
        argv += ["--ro-bind-try", place, place]
    script = Path(unpickle.__file__)
    argv += [
        "--ro-bind",
        str(script),
        "/unpickle.py",
        "--ro-bind",
        str(source),
        "/in",
        "--bind",
        str(target.parent),
        "/out",
    ]
    return [*argv, str(real), "-I", "-B", "/unpickle.py", "/in", f"/out/{target.name}"]


# Shards


def _reshard(folder: Path, size: int, uri: str, model: str) -> None:
    """Tensors in their natural order, into as many files as make each about `size` bytes; with an index where it is
    several.
    """
    parts = sorted(path for path in folder.iterdir() if SHARD.match(path.name))
    tensors: list[tuple[Path, TensorInfo]] = []
    for path in parts:
        try:
            tensors += [(path, tensor) for tensor in tensors_of(path)]
        except HeaderWrong as error:
            raise refuse(uri, model, path.name, str(error)) from error
    if not tensors:
        raise refuse(
            uri, model, "model.safetensors", "there are no safetensors to cut anew; `convert` makes them of pickles"
        )
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


def even(tensors: list[tuple[Path, TensorInfo]], size: int) -> Iterator[list[tuple[Path, TensorInfo]]]:
    """Groups of about equal bytes, in order; no empty one."""
    total = sum(tensor.end - tensor.start for _, tensor in tensors)
    count = max(1, round(total / size))
    group: list[tuple[Path, TensorInfo]] = []
    done = made = 0
    for entry in tensors:
        group.append(entry)
        done += entry[1].end - entry[1].start
        if done * count >= (made + 1) * total and made < count - 1:
            yield group
            group, made = [], made + 1
    if group:
        yield group


def _write(target: Path, group: list[tuple[Path, TensorInfo]]) -> None:
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
