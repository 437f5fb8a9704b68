"""Chunk boundaries: where the files of a version are cut. Pure.

A safetensors file is cut at its tensors: a chunk never holds bytes of two, so an unchanged tensor is the same chunks in
every version, wherever in whichever file it lies. One mechanism finds what is equal between versions: chunk by chunk.
Within a tensor, and in every other file, cuts come at a fixed size, chosen by the size of the whole version: a chain of
hosts takes size/bandwidth plus one chunk per host, so chunks are small where versions are (docs/design/model-store.md).
"""

from __future__ import annotations

from .safetensors import TensorInfo

SMALLEST, LARGEST = 64 << 10, 4 << 20  # bytes
CHUNKS_WANTED = 2048  # of a version between both


def chunk_size(version_bytes: int) -> int:
    """Bytes of a chunk in a version of this size: a power of two."""
    size = SMALLEST
    while size < LARGEST and size * CHUNKS_WANTED < version_bytes:
        size *= 2
    return size


def chunk_lengths(size: int, tensors: list[TensorInfo], chunk: int) -> list[int]:
    """Lengths of a file's chunks, in order; they add up to `size`. `chunk` is the most that one may have."""
    edges = [0, *(tensor.end for tensor in tensors), size]
    if tensors:
        edges.append(tensors[0].start)
    lengths: list[int] = []
    for first, last in zip(sorted(edges), sorted(edges)[1:], strict=False):
        whole, rest = divmod(last - first, chunk)
        lengths += [chunk] * whole + ([rest] if rest else [])
    return lengths
