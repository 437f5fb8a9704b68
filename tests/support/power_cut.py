"""A disk whose power goes: a file system in a file, of which a copy is what was on the disk at that moment.

What a program wrote and did not wait for is in the kernel's memory only, and so not in the file; the copy is mounted
as after a cut, and its journal replayed.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# ext4 saves programs that rename without waiting, and writes its journal every five seconds: neither is promised
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q"]}
OPTIONS = {"ext4": "loop,noauto_da_alloc,commit=600", "xfs": "loop"}
COPY = {"ext4": "loop", "xfs": "loop,nouuid"}
SIZE = 400 << 20


class Disk:
    """A mounted file system at `folder`; `close` takes it away."""

    def __init__(self, kind: str, work: Path) -> None:
        self.kind, self.image, self.folder = kind, work / "image", work / "disk"
        self.copy, self.after = work / "copy", work / "after"
        with self.image.open("wb") as file:
            file.truncate(SIZE)
        subprocess.run([*MAKE[kind], str(self.image)], check=True)
        self.folder.mkdir()
        self.after.mkdir()
        _mount(OPTIONS[kind], self.image, self.folder)
        listed = subprocess.run(
            ["losetup", "--noheadings", "-O", "NAME", "-j", str(self.image)], capture_output=True, text=True, check=True
        )
        self.counters = Path("/sys/block") / Path(listed.stdout.strip()).name / "stat"

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)

    @contextmanager
    def cut(self, writer: subprocess.Popen[str]) -> Iterator[Path]:
        """What is left when the power goes now, while `writer` writes; it goes on afterwards."""
        writer.send_signal(signal.SIGSTOP)
        while _state(writer.pid) != "T":
            assert writer.poll() is None
            time.sleep(0.001)
        while True:
            before = self.counters.read_text().split()[4]
            subprocess.run(["cp", "--sparse=always", str(self.image), str(self.copy)], check=True)
            if self.counters.read_text().split()[4] == before:
                break  # nothing was written while it was copied, so it was one moment
        _mount(COPY[self.kind], self.copy, self.after)
        try:
            yield self.after
        finally:
            subprocess.run(["umount", str(self.after)], check=True)
            with suppress(ProcessLookupError):
                writer.send_signal(signal.SIGCONT)


def _mount(options: str, image: Path, folder: Path) -> None:
    subprocess.run(["mount", "-o", options, str(image), str(folder)], check=True)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
