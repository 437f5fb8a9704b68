"""Facts about loading weights on this host: a measurement of its engine's loaders, kept until the next one."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

from steelyard_host import paths
from steelyard_host.engine.service import SERVICES, account_of
from steelyard_host.errors import HelperError
from steelyard_host.system import json_file
from steelyard_host.wire.store import LoadFacts

FACTS = Path(paths.LOAD_FACTS)
PROBE = paths.LOAD_PROBE


def facts() -> LoadFacts:
    """Bytes of memory, and per engine folder what was measured with it."""
    return LoadFacts(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), json_file.read_object(FACTS))


def record(engine: str, measurement: dict[str, object]) -> dict[str, object]:
    """Keeps a measurement of an engine; those of other engines stay. Raises HelperError."""
    engines = {**json_file.read_object(FACTS), engine: measurement}
    try:
        json_file.write_atomically(FACTS, json.dumps(engines, indent=1, sort_keys=True))
    except OSError as error:
        raise HelperError("%s: %s" % (FACTS, error.strerror)) from error
    return engines


class LoadProbe(NamedTuple):
    """A version to be loaded as a service's engine would: `ranks` processes.

    `user`: who does it where the service has no account of its own yet.
    """

    service: str
    engine: str  # the folder of its environment
    folder: str  # the version's
    ranks: int
    user: str

    @property
    def account(self) -> str:
        """The service's own account where there is one: a release had one for all engines."""
        own = account_of(self.service)
        try:
            return pwd.getpwnam(own).pw_name
        except KeyError:
            return self.user

    def command(self, *more: str, out: Path | None = None) -> list[str]:
        """The command in a unit of its own: no network, nothing to write but its /tmp (and `out`), not as root."""
        settings = {
            "User": self.account,
            "PrivateNetwork": "yes",
            "PrivateTmp": "yes",
            "ProtectSystem": "strict",
            "ProtectHome": "yes",
            "NoNewPrivileges": "yes",
            "CapabilityBoundingSet": "",
            "LimitCORE": "0",
            "WorkingDirectory": "/tmp",
        }
        environment = {
            "HOME": "/tmp",
            "VLLM_CACHE_ROOT": "/tmp/vllm",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        }
        file, config = SERVICES / (self.service + ".env"), SERVICES / (self.service + ".yaml")
        argv = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--unit=steelyard-bench-load"]
        for name, value in settings.items():
            argv += ["-p", "%s=%s" % (name, value)]
        for name, value in environment.items():
            argv += ["-E", "%s=%s" % (name, value)]
        argv += ["-p", "EnvironmentFile=-%s" % file]
        argv += ["-p", "ReadWritePaths=%s" % out] if out is not None else []
        argv += [self.engine + "/bin/python", "-I", PROBE, self.folder, "--ranks", str(self.ranks), *more]
        return [*argv, "--config", str(config)] if config.exists() else argv


def bench(probe: LoadProbe, repeats: int, sharded: str, ways: str) -> int:
    """Passes on what the probe says, line by line; what the engine says only where the probe fails. Raises
    HelperError.
    """
    if not Path(PROBE).exists() or not Path(probe.engine).exists():
        raise HelperError("the engine or its probe is not installed here; `steelyard apply` installs both")
    more = ["--repeats", str(repeats)]
    more += ["--sharded", sharded] if sharded and Path(sharded).is_dir() else []
    more += ["--ways", ways] if ways else []
    done = subprocess.Popen(probe.command(*more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.stdout is not None and done.stderr is not None
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(done.stderr or ()), daemon=True)
    reader.start()
    for line in done.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
    reader.join(timeout=10)
    if done.wait() != 0:
        last = [line.strip() for line in said if line.strip()][-1:] or ["it said nothing"]
        raise HelperError("the probe ended with %d: %s" % (done.returncode, last[0]))
    return 0
