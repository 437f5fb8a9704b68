"""Tensors out of a PyTorch checkpoint (the zip form) into a safetensors file, without running what the pickle asks for.

A program of its own, standard library only: it runs in a sandbox that has no network and sees nothing but this file and
the checkpoint. The pickle may name tensors, storages and dictionaries, as `torch.load(weights_only=True)` allows; any
other name ends it. Bytes go from the archive to the file without a tensor in between, so memory stays flat.

    python3 -I unpickle.py FROM TO      exit 1: one sentence on stderr
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

BITS = {  # storage -> safetensors type, bytes of an element
    "DoubleStorage": ("F64", 8),
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
    "UntypedStorage": ("U8", 1),
}
TYPES = {  # torch's own names; newer types lie in storages without one, and the tensor names it
    "float8_e4m3fn": ("F8_E4M3", 1),
    "float8_e5m2": ("F8_E5M2", 1),
    "float8_e8m0fnu": ("F8_E8M0", 1),
    "uint16": ("U16", 2),
    "uint32": ("U32", 4),
    "uint64": ("U64", 8),
}
HEADER_MOST = 512 << 20  # bytes of the pickle itself; the weights are not in it


class CheckpointRefused(Exception):
    """A checkpoint that is refused; its text is one sentence."""


class Storage(NamedTuple):
    """A run of bytes that tensors are views of: numbers of `width` bytes each."""

    dtype: str
    width: int
    key: str
    elements: int


class StoredTensor(NamedTuple):
    """A tensor as a checkpoint has it: `offset` and `stride` count numbers of its storage, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> StoredTensor:
    counts = (offset, *size, *stride) if isinstance(size, tuple) and isinstance(stride, tuple) else (None,)
    if not isinstance(storage, Storage) or not all(isinstance(count, int) and 0 <= count < 1 << 62 for count in counts):
        raise CheckpointRefused("a tensor in it is none")
    return StoredTensor(storage, offset, size, stride)


def _typed_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, kind: Any, *_: Any
) -> StoredTensor:
    if not isinstance(storage, Storage) or not isinstance(kind, str) or kind not in TYPES:
        raise CheckpointRefused("a tensor in it is of a type that is not known")
    return _tensor(storage._replace(dtype=TYPES[kind][0], width=TYPES[kind][1]), offset, size, stride)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}


class _CheckpointUnpickler(pickle.Unpickler):
    """Only what ALLOWED and BITS name can be had; a name is all that a pickle can act by."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and (name in BITS or name in TYPES):
            return name
        if (module, name) not in ALLOWED:
            raise CheckpointRefused(f"the pickle asks for `{module}.{name}`, which is no part of a tensor")
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and pid[1] in BITS):
            raise CheckpointRefused("a storage in it is of a kind that is not known")
        _, kind, key, _, elements = pid
        if not isinstance(key, str) or not isinstance(elements, int):
            raise CheckpointRefused("a storage in it has no name or no size")
        return Storage(*BITS[kind], key, elements)


def _contiguous(tensor: StoredTensor) -> bool:
    step = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _count(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def tensors_in(document: Any) -> dict[str, StoredTensor]:
    """The tensors of a state dictionary, or of the one dictionary of tensors inside of what training saved."""
    if not isinstance(document, dict):
        raise CheckpointRefused("it holds no dictionary of tensors")
    tensors = {
        name: value for name, value in document.items() if isinstance(name, str) and isinstance(value, StoredTensor)
    }
    if tensors:
        return tensors
    inner = [
        value
        for value in document.values()
        if isinstance(value, dict) and any(isinstance(item, StoredTensor) for item in value.values())
    ]
    if len(inner) != 1:
        raise CheckpointRefused("it holds no dictionary of tensors, or several")
    return tensors_in(inner[0])


def convert(source: Path, target: Path) -> int:
    """Write a checkpoint's tensors as safetensors and count them. Raises CheckpointRefused."""
    try:
        with zipfile.ZipFile(source) as archive:
            return _convert(archive, target)
    except CheckpointRefused:
        raise
    except OSError as error:
        raise CheckpointRefused(error.strerror or "it cannot be read") from error
    except zipfile.BadZipFile as error:
        hint = "; torch.save of before 1.6 wrote no zip: load and save it with a newer torch"
        raise CheckpointRefused(f"it cannot be read: {error or 'no zip'}{hint}") from error
    except Exception as error:  # a hostile file fails in any way it likes
        raise CheckpointRefused(f"it cannot be read: {type(error).__name__}") from error


def _convert(archive: zipfile.ZipFile, target: Path) -> int:
    pickles = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
    if len(pickles) != 1 or pickles[0].file_size > HEADER_MOST:
        raise CheckpointRefused("it has no `data.pkl`, or a very large one")
    top = pickles[0].filename.removesuffix("data.pkl")
    order = top + "byteorder"
    if order in archive.namelist() and archive.read(order) != b"little":
        raise CheckpointRefused("its numbers are big-endian")
    tensors = tensors_in(_CheckpointUnpickler(io.BytesIO(archive.read(pickles[0]))).load())
    _write(archive, top, tensors, target)
    return len(tensors)


def _write(archive: zipfile.ZipFile, top: str, tensors: dict[str, StoredTensor], target: Path) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors.items():
        size = _count(tensor.shape) * tensor.storage.width
        end = (tensor.offset + _count(tensor.shape)) * tensor.storage.width
        try:
            member = archive.getinfo(f"{top}data/{tensor.storage.key}")
        except KeyError as error:
            raise CheckpointRefused(f"tensor `{name}` has no bytes in it") from error
        if end > member.file_size:
            raise CheckpointRefused(f"tensor `{name}` is larger than its bytes")
        if not _contiguous(tensor):
            raise CheckpointRefused(f"tensor `{name}` does not lie in one piece; save it contiguous")
        header[name] = {"dtype": tensor.storage.dtype, "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with target.open("xb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            left = _count(tensor.shape) * tensor.storage.width
            with archive.open(f"{top}data/{tensor.storage.key}") as stream:
                stream.seek(tensor.offset * tensor.storage.width)
                while left:
                    data = stream.read(min(left, 4 << 20))
                    if not data:
                        raise CheckpointRefused("its bytes end early")
                    out.write(data)
                    left -= len(data)


def main() -> int:
    """Convert the file of the first argument into that of the second; exit 1 with a sentence where it is refused."""
    try:
        print(convert(Path(sys.argv[1]), Path(sys.argv[2])))
    except CheckpointRefused as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
