"""What engines make of versions on hosts, and other hosts may use: who has it, under which key, and where it came from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

SHARDED_BY = (
    "dtype",
    "quantization",
    "pipeline",
    "enable-expert",
    "data-parallel",
    "hf-overrides",
    "kv-cache-dtype",
    "lora",
    "enable-lora",
)


@dataclass
class Shared:
    """A service of a host: its key, where its artefacts come from (None: nobody like it has any), what it was sent."""

    host: str
    service: str
    key: str
    parts: dict[str, Any]
    bytes: int = 0
    origin: str | None = None
    received: int = 0
    error: str | None = None


def sharded_project(project: str) -> str:
    return f"_sharded/{project}"


def sharded_key(manifest: str, engine: str, ranks: int, options: dict[str, Any]) -> str:
    """The version name of a sharded variant: of which content, by which engine, for how many ranks, with which options.

    Options that say how bytes are read, or how much memory is taken, change nothing of it.
    """
    said = {name: value for name, value in options.items() if name.startswith(SHARDED_BY)}
    canonical = json.dumps([manifest, engine, ranks, said], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
