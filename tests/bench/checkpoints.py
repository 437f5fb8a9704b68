"""What reading a checkpoint costs by its format and by mapping it: a gigabyte, every byte copied out, cold and warm, in
turns.

Runs in an engine's environment (it needs torch and safetensors); `make bench-load` runs it on its lab host. Each sample
is a process of its own whose destination is touched before. The last line is one JSON object: format -> [cold s, warm
s], medians.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

TENSORS, ELEMENTS = 64, 8 << 20  # of two bytes
REPEATS = 3


def saved(folder: Path) -> dict[str, tuple[Path, Callable[[Path], Iterator[Any]]]]:
    """Title -> file and its reader, the same tensors in each."""
    state = {f"t{number}": torch.randint(0, 1 << 15, (ELEMENTS,), dtype=torch.int16) for number in range(TENSORS)}
    zipped, older, tensors = folder / "zip.bin", folder / "older.bin", folder / "model.safetensors"
    torch.save(state, zipped)
    torch.save(state, older, _use_new_zipfile_serialization=False)
    save_file(state, tensors)
    return {
        "torch.load, zip checkpoint": (zipped, lambda path: _values(torch.load(path, weights_only=True))),
        "torch.load, zip checkpoint, mapped": (
            zipped,
            lambda path: _values(torch.load(path, weights_only=True, mmap=True)),
        ),
        "torch.load, checkpoint of before 1.6": (older, lambda path: _values(torch.load(path, weights_only=True))),
        "safetensors, mapped, as vLLM reads by default": (tensors, _mapped),
    }


def _values(state: dict[str, Any]) -> Iterator[Any]:
    yield from state.values()


def _mapped(path: Path) -> Iterator[Any]:
    with safe_open(path, framework="pt") as opened:
        for name in list(opened.keys()):
            yield opened.get_tensor(name)


def sample(path: Path, read: Callable[[Path], Iterator[Any]], cold: bool) -> float:
    """Seconds until every byte was copied out, in a process of its own."""
    with path.open("rb") as stream:
        if cold:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while stream.read(8 << 20):
                pass
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        target = torch.zeros(TENSORS, ELEMENTS, dtype=torch.int16)
        target.fill_(1)  # each page is there before
        began = time.perf_counter()
        for number, tensor in enumerate(read(path)):
            target[number].copy_(tensor)
        os.write(send, str(time.perf_counter() - began).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as told:
        seconds = float(told.read())
    os.waitpid(child, 0)
    return seconds


def main() -> None:
    found: dict[tuple[str, bool], list[float]] = {}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        ways = saved(Path(made))
        os.sync()
        for _ in range(REPEATS):
            for cold in (True, False):
                for title, (path, read) in ways.items():
                    found.setdefault((title, cold), []).append(sample(path, read, cold))
    medians = {title: [round(statistics.median(found[title, cold]), 2) for cold in (True, False)] for title in ways}
    print(json.dumps(medians))


if __name__ == "__main__":
    sys.exit(main())
