"""Writing and reading again an archive of Dify's files: as `steelyard dify backup` does, as within an upgrade's outage,
and as tar -z does.

Half of the data is random, as packed files are; half is text. Databases have dumps of their own and are left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from steelyard_host.dify import archive
from steelyard_host.dify.stack import Stack
from steelyard_host.wire.dify import ArchiveList

FILES, SIZE = 8, 32 << 20
TEXT = b"".join(b"%d: a steelyard is a balance with arms of unequal length\n" % n for n in range(4096))


def sample(folder: Path) -> int:
    """Files below `folder`; their bytes."""
    folder.mkdir(parents=True)
    for number in range(FILES):
        text = (TEXT * (SIZE // len(TEXT) + 1))[:SIZE]
        (folder / f"{number}.bin").write_bytes(os.urandom(SIZE) if number % 2 else text)
    return FILES * SIZE


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        size = sample(top / "dify/volumes")
        for name, stopped in (("while Dify runs", False), ("within an outage", True)):
            work = top / name.replace(" ", "-")
            work.mkdir()
            stack = Stack({"folder": str(top / "dify"), "project": "dify"})
            write = timed(
                lambda work=work, stopped=stopped, stack=stack: archive.write(
                    stack, work, ArchiveList(None, "", "bench", "here", (), {}, {}, stopped)
                )
            )
            found[name] = write, timed(lambda work=work: archive.verify(work / "archive"))
        peer = top / "peer.tar.gz"
        write = timed(lambda: subprocess.run(["tar", "-czf", peer, "-C", top, "dify"], check=True))
        found["tar -czf, tar -tzf"] = (
            write,
            timed(lambda: subprocess.run(["tar", "-tzf", peer], check=True, capture_output=True)),
        )
    for name, (write, read) in found.items():
        print(f"{name:20} written {size / write / 1e6:5.0f} MB/s   read again {size / read / 1e6:5.0f} MB/s")
    runs, outage, tar = found.values()
    print(
        json.dumps(
            {
                "outage_write_vs_running": round(runs[0] / outage[0], 2),
                "outage_read_vs_running": round(runs[1] / outage[1], 2),
                "running_write_vs_tar": round(tar[0] / runs[0], 2),
                "outage_write_vs_tar": round(tar[0] / outage[0], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
