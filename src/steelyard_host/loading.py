"""What this host knows about loading weights: a measurement of its engine's loaders, kept until the next one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

from steelyard_host.engines import SERVICES
from steelyard_host.store import StoreError, read_record

FACTS = Path("/var/lib/steelyard/load.json")
PROBE = "/usr/lib/steelyard/load_probe.py"


def facts() -> dict[str, Any]:
    """Bytes of memory, and per engine folder what was measured with it."""
    return {"memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "engines": read_record(FACTS)}


def record(engine: str, found: dict[str, Any]) -> dict[str, Any]:
    """Keep a measurement of an engine; those of other engines stay. Raises StoreError."""
    known = {**read_record(FACTS), engine: found}
    try:
        FACTS.parent.mkdir(parents=True, exist_ok=True)
        new = FACTS.with_suffix(".new")
        new.write_text(json.dumps(known, indent=1, sort_keys=True))
        os.replace(new, FACTS)
    except OSError as error:
        raise StoreError("%s: %s" % (FACTS, error.strerror)) from error
    return known


class Probe(NamedTuple):
    """A version to be loaded as a service's engine would: `ranks` processes, by `user`."""

    service: str
    engine: str  # the folder of its environment
    folder: str  # the version's
    ranks: int
    user: str

    def command(self, *more: str, out: Path | None = None) -> list[str]:
        """In a unit of its own: no network, nothing to write but its own /tmp (and `out`), not as root."""
        settings = {
            "User": self.user, "PrivateNetwork": "yes", "PrivateTmp": "yes", "ProtectSystem": "strict", "ProtectHome": "yes",
            "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "LimitCORE": "0", "WorkingDirectory": "/tmp",
        }  # fmt: skip
        environment = {"HOME": "/tmp", "VLLM_CACHE_ROOT": "/tmp/vllm", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        file, config = SERVICES / (self.service + ".env"), SERVICES / (self.service + ".yaml")
        words = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--unit=steelyard-bench-load"]
        for name, value in settings.items():
            words += ["-p", "%s=%s" % (name, value)]
        for name, value in environment.items():
            words += ["-E", "%s=%s" % (name, value)]
        words += ["-p", "EnvironmentFile=-%s" % file]
        words += ["-p", "ReadWritePaths=%s" % out] if out is not None else []
        words += [self.engine + "/bin/python", "-I", PROBE, self.folder, "--ranks", str(self.ranks), *more]
        return [*words, "--config", str(config)] if config.exists() else words


def bench(probe: Probe, repeats: int, sharded: str, ways: str) -> int:
    """What the probe says goes on line by line; what the engine says only where the probe fails. Raises StoreError."""
    if not Path(PROBE).exists() or not Path(probe.engine).exists():
        raise StoreError("the engine or its probe is not installed here; `steelyard apply` installs both")
    more = ["--repeats", str(repeats)]
    more += ["--sharded", sharded] if sharded and Path(sharded).is_dir() else []
    more += ["--ways", ways] if ways else []
    done = subprocess.Popen(probe.command(*more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.stdout is not None and done.stderr is not None
    words: list[str] = []
    reader = threading.Thread(target=lambda: words.extend(done.stderr or ()), daemon=True)
    reader.start()
    for line in done.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
    reader.join(timeout=10)
    if done.wait() != 0:
        last = [line.strip() for line in words if line.strip()][-1:] or ["it said nothing"]
        raise StoreError("the probe ended with %d: %s" % (done.returncode, last[0]))
    return 0
