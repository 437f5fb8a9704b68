"""`bench load`, host by host: its probe is started, its samples are kept, and the choice goes to the host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyinfra.api.command import QuoteString, StringCommand

from steelyard.api.settings import settings_from
from steelyard.artifacts.helper import RUN_HELPER
from steelyard.events import Emit, Step
from steelyard.models.distribution.variants import sharded_project
from steelyard.models.load_strategy import Measured, ProbeHead, Sample, probe_line
from steelyard.modules.connectors.connection import connection_of
from steelyard.modules.connectors.helper_call import call_helper, helper_document
from steelyard.roles.base.settings import Settings as BaseSettings
from steelyard.roles.vllm.settings import Settings as EngineSettings
from steelyard.serving.kinds import engine_folder
from steelyard_host.wire.relay import Failed
from steelyard_host.wire.store import StoreListing

from .store_queries import versions_of

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.site.site import Service, Site


class LoadBench:
    """Times that hosts take to load a model. `measured`: samples by host and model; `failed`: by host, why it could not
    measure.

    `ways`: only these loaders beside the engine's default, and nothing is kept on the host; empty: all of them.
    """

    def __init__(self, site: Site, models: list[str], repeats: int, ways: str, emit: Emit) -> None:
        self.site, self.models, self.repeats, self.ways, self.emit = site, models, repeats, ways, emit
        self.measured: dict[tuple[str, str], Measured] = {}
        self.failed: dict[str, str] = {}

    def measure(self, host: Host) -> None:
        """Measure the largest of the models that the host serves, which stands for all; without one it is skipped."""
        services = [
            service
            for service in self.site.services_on(host.name)
            if service.model in self.models and service.kind.own_loading
        ]
        if not services:
            return
        rows = versions_of(call_helper(host, StoreListing, "store-list", self.site.model_root))
        sizes = {(row.project, row.version): row.bytes for row in rows}
        service = max(services, key=lambda one: sizes.get((one.model, one.version), 0))
        size = sizes.get((service.model, service.version))
        if size is None:
            self.failed[host.name] = f"{service.model} {service.version} is not published there"
            return
        default = settings_from(EngineSettings, host.data).version
        engine = engine_folder("vllm", service.engine_version(default))
        argv = self._argv(service, engine, settings_from(BaseSettings, host.data).engine_user)
        sharded = sharded_project(service.model)
        variants = [version for project, version in sizes if project == sharded]
        if variants:
            argv += ["--sharded", f"{self.site.model_root}/{sharded}/{variants[-1]}"]
        measured = self._samples(host, argv)
        if measured is None:
            return
        self.measured[host.name, service.model] = measured
        if not self.ways:
            verdict = measured.as_facts(service.model, service.version, size)
            helper_document(host, "load-record", engine, json.dumps(verdict))

    def _argv(self, service: Service, engine: str, user: str) -> list[str]:
        folder = f"{self.site.model_root}/{service.model}/{service.version}"
        ranks = str(service.serve.tensor_parallel_size)
        argv = ["load-bench", service.name, engine, folder, ranks, str(self.repeats), user]
        return [*argv, "--ways", self.ways] if self.ways else argv

    def _samples(self, host: Host, argv: list[str]) -> Measured | None:
        """What the probe says, each sample told as it comes; None where there are none, and the reason is kept."""
        command = StringCommand(RUN_HELPER, *(QuoteString(word) for word in argv))
        talk = connection_of(host).open_stream(command)
        try:
            return self._read_samples(host.name, talk.events(probe_line))
        finally:
            talk.close()

    def _read_samples(self, host: str, lines: Iterator[ProbeHead | Sample | Failed | None]) -> Measured | None:
        measured: Measured | None = None
        for line in lines:
            if isinstance(line, ProbeHead):
                measured = Measured(line)
            elif isinstance(line, Sample) and measured is not None:
                measured.take(line)
                took = measured.errors[line.strategy] if line.seconds is None else f"{line.seconds:.2f} s"
                self.emit(Step(f"{host}: {line.cache}: {line.strategy}: {took}"))
            elif isinstance(line, Failed):
                self.failed[host] = line.error
        if host not in self.failed and (measured is None or not measured.samples):
            errors = measured.errors if measured else {}
            self.failed[host] = "; ".join(f"{name}: {why}" for name, why in errors.items()) or "the probe said nothing"
        return measured if host not in self.failed else None
