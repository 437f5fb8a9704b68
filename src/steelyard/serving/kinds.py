"""The engines that are built.

What a host does with one (command line, unit) is its role's; how it counts is the helper's.
"""

from __future__ import annotations

from dataclasses import dataclass

from steelyard_host.paths import ENGINES as ENGINE_FOLDERS

from . import llamacpp_options, vllm_options
from .options import EngineOptions


@dataclass(frozen=True)
class EngineKind:
    """One kind of engine. `section`: the settings that hold its `version`; `reloads`: it takes weights in place.

    `own_loading`: it has ways of loading that are measured, chosen and shared, by `bench load`, `models shard` and
    `models cache`.
    """

    name: str
    title: str
    section: str
    options: EngineOptions
    reloads: bool
    own_loading: bool


KINDS = {
    kind.name: kind
    for kind in (
        EngineKind("vllm", "vLLM", "vllm", vllm_options.OPTIONS, reloads=True, own_loading=True),
        EngineKind(
            "llamacpp", "llama.cpp (xllamacpp)", "llamacpp", llamacpp_options.OPTIONS, reloads=False, own_loading=False
        ),
    )
}


def engine_folder(engine: str, version: str) -> str:
    """The folder of a version of an engine on its hosts: one environment each, so that two can live side by side."""
    return f"{ENGINE_FOLDERS}/{engine}-{version}"


def wheels_place(engine: str, version: str, site_vllm: str) -> str:
    """The folder of an engine's wheels below the mirror's folder of wheels.

    The site's vLLM lies in it directly, others in a folder of theirs.
    """
    return "" if (engine, version) == ("vllm", site_vllm) else f"{engine}-{version}"
