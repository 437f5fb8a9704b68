"""What the helper knows of a service's engine: which kind it is, the units it has, and how it counts. By the service's environment file.

A kind that is added here has an OpenAI API on a unix socket, /health, and Prometheus counters at /metrics; nothing more is asked of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SERVICES = Path("/etc/steelyard/services")
UNITS = Path("/etc/systemd/system")


@dataclass(frozen=True)
class Kind:
    """`counters`: its own names to ours, which are vLLM's; a counter may stand for several."""

    name: str
    config: str = ".yaml"
    counters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


KINDS = {
    "vllm": Kind("vllm"),
    "llamacpp": Kind(
        "llamacpp",
        ".json",
        {
            "requests_processing": ("num_requests_running",),
            "requests_deferred": ("num_requests_waiting",),
            "tokens_predicted_total": ("generation_tokens_total", "inter_token_latency_seconds_count"),
            "tokens_predicted_seconds_total": ("inter_token_latency_seconds_sum",),
        },
    ),
}


def base(service: str) -> str:
    """Of a second engine, `NAME--surge`, the service."""
    return service.split("--")[0]


def declared(service: str) -> dict[str, str]:
    """STEELYARD_* of the service's environment file; empty where it is none of this host's."""
    try:
        lines = (SERVICES / (base(service) + ".env")).read_text().splitlines()
    except OSError:
        return {}
    return dict(line[len("STEELYARD_") :].split("=", 1) for line in lines if line.startswith("STEELYARD_") and "=" in line)


def kind(service: str) -> Kind:
    """By the environment that it starts from, `/opt/steelyard/engines/KIND-VERSION`; vLLM where nothing says otherwise."""
    return KINDS.get(declared(service).get("ENGINE", "").rsplit("/", 1)[-1].split("-")[0], KINDS["vllm"])


def unit(service: str) -> str:
    return "steelyard-%s@%s.service" % (kind(service).name, service)


def unit_file(service: str) -> Path:
    """Of the kind: what all its services share."""
    return UNITS / ("steelyard-%s@.service" % kind(service).name)


def drop_ins(service: str, root: Path | None = None) -> Path:
    """`root`: other than where units lie on disk."""
    return (root or UNITS) / (unit(service) + ".d")


def config_file(service: str, folder: Path | None = None) -> Path:
    """`folder`: other than where those of services lie."""
    return (folder or SERVICES) / (service + kind(service).config)


def lazy(service: str) -> bool:
    """Started by its first request, stopped when nobody asks."""
    return declared(service).get("LOAD") == "lazy"


def services() -> list[str]:
    """Of this host."""
    return sorted(path.stem for path in SERVICES.glob("*.env"))


def units() -> dict[str, str]:
    """Engines' units that were ever set up here, each with its service: more than one where a service had another engine."""
    found = (path.parent.name[:-2] for path in sorted(UNITS.glob("steelyard-*@*.service.d/50-version.conf")))
    return {name: name.split("@", 1)[1][: -len(".service")] for name in found}
