"""Plans made up for tests of how they are shown: sites alike, mixed, and any that a generator thinks of."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from steelyard.api.change import Effect
from steelyard.api.unknown import Unknown
from steelyard.engine.plan import HostPlan, Plan, PlannedCommand, Task
from steelyard.errors import FactFailed, HostUnreachable, SteelyardError

WHEELS = ("the engine's wheels", "the mirror does not offer them yet", "task 'Install the engine', during apply")
LOCK = (
    f"the mirror's lock is {'a' * 64}, and `vllm.lock_sha256` declares {'b' * 64}: nothing is installed; bring the "
    "declared wheels with `steelyard wheels push`, or declare the lock that you looked through"
)


def command(
    subject: str, live: str = "missing", declared: str = "content, root:root 0644", **more: Any
) -> PlannedCommand:
    return PlannedCommand(f"do {subject}", subject, declared, live, **more)


def task(role: str, name: str, *commands: PlannedCommand) -> Task:
    return Task(role, name, commands)


def restart(unit: str, outage_s: float | None) -> Task:
    live, declared = "started with another", "started with the declared configuration"
    return task("vllm", "Run the engine", command(unit, live, declared, effect=Effect.RESTART, outage_s=outage_s))


def refusal(reason: str) -> PlannedCommand:
    return PlannedCommand(f"refuse: {reason}", reason, "", "", refusal=reason)


def unknown(host: str) -> Unknown:
    return Unknown(host, *WHEELS)


@cache
def alike(hosts: int, tasks: int) -> Plan:
    """Hosts that lack the same, as a new site's do: each with files of its own content."""
    roles = ("base", "docker", "nvidia_driver", "vllm")
    return Plan(
        tuple(
            HostPlan(
                f"gpu-{number:03}",
                tuple(
                    Task(
                        roles[turn * len(roles) // tasks],
                        f"Write file {turn}",
                        (
                            PlannedCommand(
                                f"write /etc/{turn}", f"/etc/{turn}", "content", "missing", (f"+host {number}",)
                            ),
                        ),
                    )
                    for turn in range(tasks)
                ),
                3,
            )
            for number in range(1, hosts + 1)
        )
    )


def mixed() -> Plan:
    """Restarts, a stop, removals, a refusal, unknowns, an error and a host that does not answer."""
    removal = task(
        "vllm",
        "Remove the engine's key",
        command("/etc/steelyard/keys/old", "file, root:root 0600", "absent", effect=Effect.REMOVAL),
    )
    gone = task(
        "vllm",
        "Stop what is declared no more",
        command("steelyard-vllm@old.service", "still set up", "no service of this host", effect=Effect.STOP),
        command("steelyard-vllm@old.service", "still set up", "no service of this host", effect=Effect.REMOVAL),
        command("steelyard-lazy@old.socket", "active", "stopped", effect=Effect.STOP),
    )
    gateway = task("gateway", "Configure the gateway", command("/etc/haproxy/haproxy.cfg", "another content"))
    unit = task("vllm", "Write the unit", command("/etc/systemd/system/steelyard-vllm@.service", "another content"))
    return Plan(
        (
            HostPlan("mirror-1", (), 31),
            HostPlan("gw-1", (gateway,), 40),
            HostPlan("gpu-1", (unit, restart("steelyard-vllm@pair.service", 40.0), removal), 50),
            HostPlan("gpu-2", (unit, restart("steelyard-vllm@pair.service", 40.0)), 50),
            HostPlan("gpu-3", (unit, restart("steelyard-vllm@solo.service", None), gone), 50, (unknown("gpu-3"),)),
            HostPlan("gpu-4", (task("vllm", "Install the engine", refusal(LOCK)),), 20, (unknown("gpu-4"),)),
            HostPlan("gpu-5", (unit,), 4, error=FactFailed(where="gpu-5", fact="`nvidia-smi`", why="no answer")),
            HostPlan("gpu-6", (), 0, error=HostUnreachable(where="gpu-6", why="refused", address="10.0.0.6")),
        )
    )


def recorded(path: Path) -> Plan:
    """A plan as `plan --json` wrote it, without diffs and commands."""
    return Plan(
        tuple(
            HostPlan(
                host["host"],
                tuple(Task(one["role"], one["name"], tuple(map(_read, one["commands"]))) for one in host["tasks"]),
                host["in_sync"],
                tuple(Unknown(**one) for one in host["unknown"]),
            )
            for host in json.loads(path.read_text())["hosts"]
        )
    )


def _read(row: dict[str, Any]) -> PlannedCommand:
    return PlannedCommand(**{**row, "text": row["subject"], "effect": Effect(row["effect"]), "diff": ()})


ROLES = ("base", "vllm")
NAMES = ("Write the unit", "Run it", "Remove what was", "Install", "Write the key")
TAME = st.sampled_from(["/a", "/b", "x.service"])
WILD = st.text(st.characters() | st.sampled_from("\x1b\n\u202e日本\t `"), min_size=1, max_size=120)
OUTAGES = st.sampled_from([0.0, 0.4, 40.0, None])
SILENT = st.integers(0, 9).map(lambda number: number == 9)


@st.composite
def plans(draw: st.DrawFn, text: st.SearchStrategy[str] = TAME) -> Plan:
    """Any plan of up to 40 hosts of a few kinds; `text` are things, states and reasons. A host has no task twice."""
    made = st.builds(
        PlannedCommand,
        text=st.just("do"),
        subject=text,
        declared=text,
        live=text,
        effect=st.sampled_from([Effect.CHANGE, *Effect]),
        outage_s=OUTAGES,
    )
    commands = st.lists(made | st.builds(refusal, text), min_size=1, max_size=3).map(tuple)
    unknowns = st.builds(Unknown, st.just("h"), text, text, text)
    pool = draw(st.lists(st.builds(Task, st.sampled_from(ROLES), st.sampled_from(NAMES), commands), max_size=8))
    doubts = draw(st.lists(unknowns, max_size=2))
    kinds = draw(st.lists(st.integers(0, 2 ** (len(pool) + len(doubts)) - 1), min_size=1, max_size=6))
    hosts = []
    for number, (kind, silent) in enumerate(draw(st.lists(st.tuples(st.sampled_from(kinds), SILENT), max_size=40))):
        tasks = {one.title: one for turn, one in enumerate(pool) if kind >> turn & 1}
        known = tuple(one for turn, one in enumerate(doubts, len(pool)) if kind >> turn & 1)
        error: SteelyardError | None = HostUnreachable(where="h", why="x", address="y") if silent else None
        hosts.append(HostPlan(f"h{number}", tuple(tasks.values()), 1, known, error))
    return Plan(tuple(hosts))


def scattered(hosts: int) -> Plan:
    """Hosts of which no two lack the same; each has something that restarts."""
    return Plan(
        tuple(
            HostPlan(
                f"h{number}",
                (
                    task("base", "Write the unit", command(f"/{number}")),
                    restart(f"engine-{number}.service", number + 1.0),
                ),
                1,
            )
            for number in range(hosts)
        )
    )
