"""Advice of a plan about services of vLLM on hosts without GPUs: they start there under conditions that a GPU does not
have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from steelyard.api.advice import Hint
from steelyard.modules.facts.processor import ProcessorState
from steelyard.site.site import Service

from .amx import killed_by_amx, runs_on_processor

COMPILERS = {"g++", "build-essential", "clang"}
HEADERS = {"python3-dev", "python3-all-dev", "libpython3-dev"}


def cpu_advice(
    services: Sequence[Service],
    packages: Sequence[str],
    processor: ProcessorState | None,
    types: Mapping[str, Mapping[str, int]],
) -> list[Hint]:
    """Hints for the services of one host. `packages` are those that the role installs there; `types`: service to its
    bytes of
    weights by safetensors type, without those that are not known."""
    if processor is None:
        return []
    own = [
        service
        for service in services
        if service.serve.engine == "vllm" and runs_on_processor(service.serve, processor)
    ]
    return [*_compiler(own, packages, processor), *_amx(own, types, processor)]


def unpinned_wheels(section: str, title: str, version: str) -> Hint:
    """Advise to pin the lock: what a host installs as root is else whatever the mirror serves."""
    return Hint(
        f"{section}.unpinned",
        f"no lock is declared for the wheels of {title} {version}: hosts install whatever the mirror offers",
        f"`steelyard wheels collect` prints the line that pins them, `{section}: {{lock_sha256: ...}}`",
    )


def _amx(
    services: Sequence[Service], types: Mapping[str, Mapping[str, int]], processor: ProcessorState
) -> Iterator[Hint]:
    for service in services:
        if killed_by_amx(service.serve, types.get(service.name, {}), processor):
            yield Hint(
                "vllm.amx",
                f"service {service.name} computes in bfloat16 on a CPU with AMX, eagerly and with a "
                f"declared memory for its context: "
                "vLLM is killed there by SIGILL at its first token",
                "`options: {dtype: float32}` under its `serve`, or no `enforce-eager`",
            )


def _compiler(services: Sequence[Service], packages: Sequence[str], processor: ProcessorState) -> Iterator[Hint]:
    """Without eager mode the engine compiles C++ with Python's headers at its first start."""
    lacking = []
    if not processor.compiler and not COMPILERS & set(packages):
        lacking.append("g++")
    if not processor.headers and not HEADERS & set(packages):
        lacking.append("python3-dev")
    if not lacking:
        return
    for service in services:
        if not runs_eagerly(service):
            wanted = f"[{', '.join([*packages, *lacking])}]"
            yield Hint(
                "vllm.compiler",
                (
                    f"service {service.name} runs on the CPU and compiles at its start, and the host lacks "
                    f"{' and '.join(lacking)}"
                ),
                f"`options: {{enforce-eager: true}}` under its `serve`, or `vllm: {{packages: {wanted}}}`",
            )


def runs_eagerly(service: Service) -> bool:
    """True where nothing is compiled at the start."""
    serve = service.serve
    return serve.options_by_name().get("enforce-eager") is True or serve.environment.get("TORCHDYNAMO_DISABLE") == "1"
