"""vLLM as an engine: its config file, its part of the unit, and the variant that `load_strategy: sharded` loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from steelyard.models.distribution.variants import sharded_key
from steelyard.models.sources.declared import declared_version
from steelyard.site.engine_adapter import EngineAdapter, EngineFile
from steelyard.site.site import Service, Site
from steelyard_host import paths
from steelyard_host.engine.load_bench import PROBE

from .settings import Settings

FILES = Path(__file__).parent / "files"


def engine_config(service: Service, drain_s: int, loading: Mapping[str, Any]) -> str:
    """The engine's own config file: flat keys, alias and service name both served. `loading`: options that were
    measured.
    """
    serve = service.serve
    options: dict[str, Any] = {
        "model": paths.model_mount(service.name),
        "served-model-name": list(dict.fromkeys([service.name, service.alias or service.name])),
        "uds": paths.engine_socket(service.name),
        "tensor-parallel-size": serve.tensor_parallel_size,
        "gpu-memory-utilization": serve.gpu_memory_utilization,
        "shutdown-timeout": drain_s,
    }
    if serve.pipeline_parallel_size > 1:
        options["pipeline-parallel-size"] = serve.pipeline_parallel_size
    if serve.max_model_len is not None:
        options["max-model-len"] = serve.max_model_len
    return yaml.safe_dump({**options, **loading, **serve.options}, sort_keys=True)


def sharded_variant(site: Site, service: Service, engine: str) -> str:
    """The key of the variant that a service loads with `load_strategy: sharded`."""
    manifest = declared_version(service.model, site.models[service.model]).manifest.id
    return sharded_key(manifest, engine, service.serve.tensor_parallel_size, service.serve.options_by_name())


VLLM = EngineAdapter(
    kind="vllm",
    title="vLLM",
    settings=Settings,
    environment=(
        "Environment=HOME=/var/cache/steelyard/%i VLLM_CACHE_ROOT=/var/cache/steelyard/%i/vllm",
        "Environment=HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 PYTHONDONTWRITEBYTECODE=1",
        (
            "# control routes, for a change of version in place; nobody but this host's root reaches them: the "
            "socket is the only listener"
        ),
        "Environment=VLLM_SERVER_DEV_MODE=1",
    ),
    command="vllm serve --config /etc/steelyard/services/%i.yaml",
    suffix=".yaml",
    config=engine_config,
    files=(EngineFile("Install the load probe", PROBE, (FILES / "load_probe.py").read_text()),),
    compiles=True,
)
