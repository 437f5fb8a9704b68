"""Variants of versions that engines make on hosts, and other hosts may use: who has one, and under which key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

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
    parts: dict[str, object]
    bytes: int = 0
    origin: str | None = None
    received: int = 0
    error: str | None = None


def sharded_project(project: str) -> str:
    """The name under which stores have a project's sharded variants."""
    return f"_sharded/{project}"


def sharded_key(manifest: str, engine: str, ranks: int, options: Mapping[str, object]) -> str:
    """The version's name of a sharded variant: which content, by which engine, for how many ranks, which options.

    Options that say how bytes are read, or how much memory is taken, change nothing of it.
    """
    relevant = {name: value for name, value in options.items() if name.startswith(SHARDED_BY)}
    canonical = json.dumps([manifest, engine, ranks, relevant], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
