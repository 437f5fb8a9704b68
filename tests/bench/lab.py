"""Boots labs of 3, 8 and 20 hosts and prints how long until every sshd answers. The last line is one JSON object."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from pages import write_block

from steelyard.lab import fleet
from steelyard.lab.nspawn import spec

NAME = "bench"


def boot(count: int) -> tuple[float, float]:
    """Seconds of up and of down."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        fleet.up(NAME, spec.hosts_of(count), Path(folder) / "inventory", lambda _: None, wheels=False)
        middle = time.monotonic()
        fleet.down(NAME, lambda _: None)
        return middle - began, time.monotonic() - middle


def main() -> None:
    boot(1)  # makes what is made once
    rows = {count: boot(count) for count in (3, 8, 20)}
    lines = ["| hosts | up | down |", "|---|---|---|"]
    lines += [f"| {count} | {up:.1f} s | {down:.1f} s |" for count, (up, down) in rows.items()]
    print("\n".join(lines))
    write_block("boot", "\n".join(lines))
    print(json.dumps({f"up_{count}_s": round(up, 2) for count, (up, _) in rows.items()}))


if __name__ == "__main__":
    main()
