"""The role `dify` against a Dify over real HTTP, on a host of pyinfra's @fake: planned, and applied in Dify."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyinfra
from dify_world import KEY, PASSWORD, World
from pyinfra.api.command import FunctionCommand
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_config, ctx_host, ctx_state

from steelyard.api.change import FileWrite, Refusal
from steelyard.api.host_report import report_of
from steelyard.api.unknown import Unknown
from steelyard.engine.plan import shown_command, split_title
from steelyard.errors import SteelyardError
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.modules.operations.dify import MARKS, client_of
from steelyard.roles.dify import dify
from steelyard.site.resolve import site_of

HOST = "dify-1"


@dataclasses.dataclass
class Run:
    """What one look, or one apply, came to."""

    tasks: dict[str, list[str]]  # task to its commands, as a plan shows them
    unknown: list[str]
    error: SteelyardError | None = None  # of the host, where an apply ended with one


@dataclasses.dataclass
class DifyRole:
    """A site of one Dify host: what is declared of it, and the file of marks on it."""

    world: World
    dify: dict[str, Any] = dataclasses.field(default_factory=dict)
    models: dict[str, Any] = dataclasses.field(default_factory=dict)
    marks: str | None = None

    def declare(self, alias: str, kind: str = "llm", version: str = "v1", **of_dify: Any) -> None:
        source = f"file:///srv/{alias}"
        model = {"source": source, "version": version, "alias": alias, "dify": {"type": kind, **of_dify}}
        self.models[f"{kind}/{alias}"] = model

    def plan(self) -> Run:
        with self._prepared() as (state, unknown):
            return Run(self._shown(state), unknown)

    def apply(self) -> Run:
        """Calls to Dify are made, and the marks are kept; the first that fails ends it."""
        with self._prepared() as (state, unknown):
            (host,) = state.inventory
            tasks: dict[str, list[str]] = {}
            state.is_executing = True
            for op in host.op_hash_order:
                name = split_title(state.op_meta[op].names)[1]
                for command in state.ops[host][op].command_generator():
                    tasks.setdefault(name, []).append(shown_command(command).text)
                    if isinstance(command, FileWrite):
                        self.marks = command.content.decode()
                    failed = isinstance(command, Refusal)
                    if isinstance(command, FunctionCommand):
                        failed = not command.function(state, host)
                    if failed:
                        return Run(tasks, unknown, report_of(state, host).error)
            return Run(tasks, unknown)

    def _settings(self) -> dict[str, Any]:
        own = {"url": self.world.url, "email": "admin@lab.example", "password": PASSWORD}
        own |= {"endpoint": f"{self.world.endpoint}/v1", **self.dify}
        return {"dify": own, "models": self.models, "gateway": {"clients": {"dify": KEY}}}

    def fleet(self) -> Fleet:
        settings = self._settings()
        groups = {"dify": (HOST,), "gateway": ("gw-1",), "gpu": ("gpu-1",)}
        hosts = tuple(
            FleetHost(name, ("all", group), {"ansible_host": f"10.0.0.{number}", **settings})
            for number, (group, (name,)) in enumerate(groups.items(), 1)
        )
        everybody = {**groups, "all": tuple(host.name for host in hosts)}
        return Fleet(Path("inventory"), hosts, everybody, match=lambda pattern: list(everybody.get(pattern, ())))

    @contextmanager
    def _prepared(self) -> Iterator[tuple[State, list[str]]]:
        client_of.cache_clear()  # each run is a process of its own
        fleet = self.fleet()
        unknown: list[str] = []

        def file_unknown(entry: Unknown) -> None:
            unknown.append(f"{entry.what}: {entry.because}")

        text = (self.marks or "").encode()
        there = [f"sha256={hashlib.sha256(text).hexdigest()}", "kind=file", "mode=0600", "user=root", "group=root"]
        data = {
            **fleet.host(HOST).variables,
            "site": site_of(fleet),
            "host_name": HOST,
            "file_unknown": file_unknown,
            "host_groups": fleet.host(HOST).groups,
            "fake_delay": 0,
            "fake_delay_jitter": 0,
            "fake_responses": {
                f"base64 {MARKS}": [base64.b64encode(text).decode() or "none"],
                f"test -L {MARKS}": there if self.marks else ["kind=none"],
            },
        }
        names = (["@fake/" + HOST], {})
        state = State(Inventory(names, everybody=(["@fake/" + HOST], data)), check_for_changes=False)
        pyinfra.is_cli = True
        try:
            host = state.inventory.get_host("@fake/" + HOST)
            state.activate_host(host)
            with ctx_state.use(state), ctx_config.use(state.config.copy()), ctx_host.use(host):
                state.set_stage(StateStage.Connect)
                host.connect()
                state.set_stage(StateStage.Prepare)
                dify()
                yield state, unknown
        finally:
            pyinfra.is_cli = False

    def _shown(self, state: State) -> dict[str, list[str]]:
        (host,) = state.inventory
        tasks = {
            split_title(state.op_meta[op].names)[1]: [
                shown_command(command).text for command in state.ops[host][op].command_generator()
            ]
            for op in host.op_hash_order
        }
        return {name: commands for name, commands in tasks.items() if commands}

    @property
    def kept(self) -> dict[str, str]:
        kept: dict[str, str] = json.loads(self.marks or "{}")
        return kept
