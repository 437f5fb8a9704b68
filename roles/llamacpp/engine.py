"""llama.cpp as an engine: its config file and its part of the unit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steelyard.models.fit.gpu_memory import number
from steelyard.serving.llamacpp_options import plain
from steelyard.site.engine_adapter import EngineAdapter, EngineFile
from steelyard.site.site import Service
from steelyard_host import paths

from .settings import Settings

FILES = Path(__file__).parent / "files"
LAUNCHER = paths.LIBRARIES + "/llamacpp-serve"
AT_ONCE = 4  # requests, where `n_parallel` says nothing else


def engine_config(service: Service, drain_s: int, loading: Mapping[str, Any]) -> str:
    """Return the configuration for the launcher. llama.cpp shares one context among its slots, and `max_model_len`
    is that of one request.
    """
    serve = service.serve
    options: dict[str, Any] = {"n_parallel": AT_ONCE, **{plain(name): value for name, value in serve.options.items()}}
    if serve.max_model_len is not None:
        options["n_ctx"] = serve.max_model_len * int(number(options, "n_parallel", AT_ONCE))
    config = {
        "folder": paths.model_mount(service.name),
        "socket": paths.engine_socket(service.name),
        "names": list(dict.fromkeys([service.name, service.alias or service.name])),
        "options": options,
    }
    return json.dumps(config, indent=1, sort_keys=True) + "\n"


LLAMACPP = EngineAdapter(
    kind="llamacpp",
    title="llama.cpp",
    settings=Settings,
    environment=("Environment=HOME=/var/cache/steelyard/%i PYTHONDONTWRITEBYTECODE=1",),
    command=f"python3 -I {LAUNCHER} /etc/steelyard/services/%i.json",
    suffix=".json",
    config=engine_config,
    files=(EngineFile("Install the launcher of llama.cpp", LAUNCHER, (FILES / "llamacpp_serve.py").read_text()),),
)
