"""How fast a version is verified, beside `cat FILE >/dev/null` in the same run: warm and cold, in turns.

`make bench-verify`. The last line is one JSON object: rate of verifying as a share of cat's. The bar is 0.8.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from steelyard.models.cuts import chunk_size
from steelyard_host.hashing import digest, wrong_chunks

SIZE = 1 << 30  # bytes
RUNS = 7


def forget(path: Path) -> None:
    """Out of the page cache."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def main() -> None:
    figures = {}
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
            shares, rates = [], []
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
                shares.append(cat / ours)
                rates.append(SIZE / ours / 1e9)
            figures[f"{title}_share_of_cat"] = round(statistics.median(shares), 2)
            print(f"{title}: {statistics.median(rates):.2f} GB/s verified, {statistics.median(shares):.2f} of cat's rate")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
