"""`bench load`, host by host: the probe is started, what it says is kept, and its verdict goes to the host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyinfra.api.command import QuoteString, StringCommand

from steelyard.events import Emit, Step
from steelyard.host_helper import RUN_HELPER
from steelyard.models.artefacts import sharded_project
from steelyard.models.loading import Measured
from steelyard.modules.connectors.ask import ask
from steelyard.serving.kinds import engine_folder
from steelyard.settings import role_settings, settings_from

if TYPE_CHECKING:
    from steelyard.site import Service, Site


class Loads:
    """`found`: (host, model) -> samples; `failed`: host -> why it could not measure."""

    def __init__(self, site: Site, chosen: list[str], repeats: int, ways: str, emit: Emit) -> None:
        self.site, self.chosen, self.repeats, self.ways, self.emit = site, chosen, repeats, ways, emit
        self.found: dict[tuple[str, str], Measured] = {}
        self.failed: dict[str, str] = {}

    def measure(self, host: Any) -> None:
        """The largest of the host's models stands for all of them. A host that serves none is passed over."""
        services = [
            service for service in self.site.services_on(host.name) if service.model in self.chosen and service.kind.own_loading
        ]
        if not services:
            return
        listed = ask(host, "store-list", self.site.model_root) or {"versions": []}
        sizes = {(row["project"], row["version"]): int(row["bytes"]) for row in listed["versions"]}
        service = max(services, key=lambda each: sizes.get((each.model, each.version), 0))
        size = sizes.get((service.model, service.version))
        if size is None:
            self.failed[host.name] = f"{service.model} {service.version} is not published there"
            return
        models: Any = role_settings()
        engine = engine_folder("vllm", service.engine_version(settings_from(models["vllm"], host.data).version))
        words = self._words(service, engine, settings_from(models["base"], host.data).engine_user)
        variants = [version for project, version in sizes if project == sharded_project(service.model)]
        if variants:
            words += ["--sharded", f"{self.site.model_root}/{sharded_project(service.model)}/{variants[-1]}"]
        talk = host.connector.converse(StringCommand(RUN_HELPER, *(QuoteString(word) for word in words)))
        try:
            measured = self._heard(host.name, talk.told())
        finally:
            talk.close()
        if measured is not None:
            self.found[host.name, service.model] = measured
            if not self.ways:
                verdict = measured.as_facts(service.model, service.version, size)
                ask(host, "load-record", engine, json.dumps(verdict))

    def _words(self, service: Service, engine: str, user: str) -> list[str]:
        folder = f"{self.site.model_root}/{service.model}/{service.version}"
        ranks = str(service.serve.tensor_parallel_size)
        words = ["load-bench", service.name, engine, folder, ranks, str(self.repeats), user]
        return [*words, "--ways", self.ways] if self.ways else words

    def _heard(self, host: str, told: Iterator[dict[str, Any]]) -> Measured | None:
        """Samples as they come; None where there are none, and then the reason is kept."""
        measured: Measured | None = None
        for said in told:
            if "strategies" in said:
                measured = Measured(said)
            elif "strategy" in said and measured is not None:
                measured.take(said)
                took = f"{said['seconds']:.2f} s" if "seconds" in said else said["error"]
                self.emit(Step(f"{host}: {said['cache']}: {said['strategy']}: {took}"))
            elif "error" in said:
                self.failed[host] = str(said["error"])
        if host not in self.failed and (measured is None or not measured.samples):
            errors = measured.errors if measured else {}
            self.failed[host] = "; ".join(f"{name}: {why}" for name, why in errors.items()) or "the probe said nothing"
        return measured if host not in self.failed else None
