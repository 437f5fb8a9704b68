"""The fault matrix: what is done to a rollout while clients ask, and in which state hosts must be afterwards.

A fault is injected on a real host: files, processes, the link, the clock. Each row counts the requests that failed,
those that were in flight on an engine that the fault itself killed apart.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.lab_site import STEELYARD, Site, first_process, on_host, steelyard

from steelyard.lab.load import PAUSE_S, LoadGenerator, texts_of
from steelyard.lab.simulated.tiny_model import make

SERVICE = "steelyard-vllm@tiny"
PYZ = "python3 -I /usr/lib/steelyard/steelyard-host.pyz"
SEEDS = {"v1": 1, "next": 7}  # not the bytes of other tests: hosts that hold those would be sent nothing


@dataclass
class Row:
    """One cell of the matrix, as it was measured."""

    strategy: str
    fault: str
    exit: int
    serves: str
    failed: int
    in_flight_on_killed: int
    mixed: int
    slowest_s: float
    requests: int
    known: bool
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass
class Ground:
    """A site on which versions are rolled out: its inventory is a copy, so that versions can be declared in it."""

    site: Site
    inventory: Path
    sources: Path
    host: str = "gpu-1"
    shared: str = ""  # address of two gateways; empty with one
    clients: int = 3
    texts: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def on(cls, site: Site, folder: Path, shared: str = "") -> Ground:
        """In `folder`; v1 is the lab's own, which is published already."""
        made = cls(site, site.copy(folder / "copy"), folder, shared=shared)
        lab = next(
            line
            for line in (site.inventory / "group_vars/all/models.yml").read_text().splitlines()
            if "source:" in line
        )
        (folder / "v1").symlink_to(lab.split("file://")[1])
        made.settle("next")
        made.settle("v1")
        assert made.texts["v1"] != made.texts["next"]
        return made

    @property
    def gateway(self) -> tuple[str, int, str, str]:
        return self.shared or self.site.address("gw-1"), 8080, self.site.secrets["demo_client_key"], "tiny"

    def declare(self, version: str, source: Path | None = None) -> None:
        """In models.yml; its files are made where there are none yet."""
        path = self.inventory / "group_vars/all/models.yml"
        lines = path.read_text().splitlines()
        folder = source or make(self.sources / version, SEEDS.get(version, 1))
        for number, line in enumerate(lines):
            if line.strip().startswith("source:"):
                lines[number] = f"    source: file://{folder}"
            elif line.strip().startswith("version:"):
                lines[number] = f"    version: {version}"
        path.write_text("\n".join(lines) + "\n")

    def roll(self, version: str, *words: str) -> subprocess.CompletedProcess[str]:
        return steelyard("rollout", "tiny", version, "-i", str(self.inventory), "--yes", *words)

    def started(self, version: str, *words: str) -> subprocess.Popen[str]:
        """A rollout that is under way, to be done something to."""
        return subprocess.Popen(
            [STEELYARD, "rollout", "tiny", version, "-i", str(self.inventory), "--yes", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def begun(
        self, strategy: str, *words: str, states: tuple[str, ...] = (), seconds: float = 600
    ) -> subprocess.Popen[str]:
        """A rollout to the next version whose host has begun its switch, or has come to one of these states; or that
        has ended.

        The host's record is read from this machine: a reload is on trial for a moment only, and a program on the host
        would come too late.
        """
        record = Path(f"/proc/{first_process(self.site, self.host)}/root/var/lib/steelyard/switches/tiny.json")
        before = self.run_id()
        run = self.started("next", "--strategy", strategy, *words)
        end = time.monotonic() + seconds
        while run.poll() is None and time.monotonic() < end:
            now = json.loads(record.read_text()) if record.exists() else {"run": before}
            if now["run"] != before and (not states or now["state"] in states):
                break
            time.sleep(0.005)
        return run

    def run_id(self) -> str:
        """Of the host's last switch."""
        return str((self.state()["switch"] or {"run": ""})["run"])

    def state(self) -> dict[str, Any]:
        words = f"{PYZ} switch-state /models llm/tiny tiny"
        found: dict[str, Any] = json.loads(on_host(self.site, self.host, words))
        return found

    def wait_for(self, *states: str, seconds: float = 120) -> str:
        """Until the last switch is in one of these states; past SSH, so that it works with the link cut."""
        end = time.monotonic() + seconds
        while True:
            now = (self.state()["switch"] or {"state": "none"})["state"]
            if now in states or time.monotonic() > end:
                return str(now)
            time.sleep(0.2)

    def serves(self) -> str:
        """The one version that serves and would come up; what is wrong where they are two."""
        now = self.state()
        names = {str(now[key]).rsplit("/", 1)[-1] for key in ("serves", "committed")}
        return names.pop() if len(names) == 1 else f"two: {sorted(names)}"

    def settle(self, version: str) -> None:
        """Whatever a row left: this version serves, is declared, and the gateway sees it."""
        self.declare(version)
        self.wait_for("confirmed", "undone", "none")
        if self.serves() != version:
            done = self.roll(version)
            assert done.returncode == 0, done.stdout + done.stderr
        self.texts[version] = texts_of(*self.gateway)

    def clear(self) -> None:
        """The host holds what it held before: the next tests count versions. A restart lets go of what was mounted in
        place.
        """
        on_host(self.site, self.host, f"systemctl restart {SERVICE}")
        found = json.loads(on_host(self.site, self.host, f"{PYZ} store-list /models"))
        mine = [f"{row['project']}@{row['version']}" for row in found["versions"] if row["project"] == "llm/tiny"]
        gone = " ".join(name for name in mine if name != "llm/tiny@v1")
        on_host(self.site, self.host, f"rm -f /models/llm/tiny/previous && {PYZ} store-forget /models {gone}")

    @contextmanager
    def load(self, strategy: str = "") -> Iterator[LoadGenerator]:
        """Where two gateways share an address, clients knock again while it moves: three seconds, when its host is told
        by its check.
        """
        knock_s = 15 if self.shared else 0
        with LoadGenerator(*self.gateway, self.texts, self.clients, knock_s, pause_of(strategy)) as load:
            time.sleep(1.5)
            yield load
            time.sleep(1.5)


def pause_of(strategy: str) -> float:
    """Seconds. Clients of a surge are never held, so they would take the processors that two engines are to start
    on.
    """
    return 0.3 if strategy == "surge" else PAUSE_S


Fault = Callable[[Ground, str], tuple[int, int]]  # strategy -> exit code, requests in flight on what the fault killed


def run_row(ground: Ground, strategy: str, name: str, fault: Fault) -> Row:
    """From v1 to the next version under load, with the fault; then what clients got, and what the host is at."""
    ground.settle("v1")
    ground.declare("next")
    with ground.load(strategy) as load:
        code, killed = fault(ground, strategy)
    ended = ground.wait_for(
        "confirmed", "undone", "none", seconds=300
    )  # surge starts two engines before it can be undone
    counts = load.counts
    in_flight = min(counts.failed, killed)
    return Row(
        strategy,
        name,
        code,
        ground.serves(),
        counts.failed - in_flight,
        in_flight,
        counts.mixed,
        counts.slowest_s,
        counts.requests,
        ended in ("confirmed", "undone", "none"),
        counts.reasons,
    )
