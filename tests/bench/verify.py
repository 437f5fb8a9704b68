"""How fast a version is verified, beside `cat FILE >/dev/null` in the same run: warm and cold, in turns.

`make bench-verify`. The last line is one JSON object: rate of verifying as a share of cat's. The bar is 0.8.
`hash_alone` is what blake3 does on all processors with bytes that are in memory already, as a share of warm cat: no
verification can be faster.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from steelyard.models.content.chunking import chunk_size
from steelyard_host.store.hashing import digest, wrong_chunks

SIZE = 1 << 30  # bytes
RUNS = 7


def forget(path: Path) -> None:
    """Out of the page cache."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def hash_alone() -> float:
    """GB/s of all processors together, nothing read."""
    workers = os.cpu_count() or 1
    block, rounds = bytearray(512 << 10), 1000
    began = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: [digest(block) for _ in range(rounds)], range(workers)))
    return workers * rounds * len(block) / (time.monotonic() - began) / 1e9


def main() -> None:
    figures, warm_cat = {}, 1.0
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / "weights"
        size = chunk_size(SIZE)
        chunks = []
        with path.open("wb") as out:
            for number in range(SIZE // size):
                data = random.Random(number).randbytes(size)
                out.write(data)
                chunks.append((number * size, size, digest(data)))
        for title in ("warm", "cold"):
            shares, rates, cats = [], [], []
            for _ in range(RUNS):
                if title == "cold":
                    forget(path)
                began = time.monotonic()
                subprocess.run(["sh", "-c", f"cat {path} >/dev/null"], check=True)
                cat = time.monotonic() - began
                if title == "cold":
                    forget(path)
                began = time.monotonic()
                assert wrong_chunks(path, chunks) == []
                ours = time.monotonic() - began
                cats.append(SIZE / cat / 1e9)
                shares.append(cat / ours)
                rates.append(SIZE / ours / 1e9)
            if title == "warm":
                warm_cat = statistics.median(cats)
            figures[f"{title}_share_of_cat"] = round(statistics.median(shares), 2)
            print(
                f"{title}: {statistics.median(rates):.2f} GB/s verified, {statistics.median(shares):.2f} of cat's rate"
            )
    alone = hash_alone()
    figures["hash_alone_share_of_cat"] = round(alone / warm_cat, 2)
    print(f"blake3 alone, {os.cpu_count()} processors: {alone:.2f} GB/s; cat, warm: {warm_cat:.2f} GB/s")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
