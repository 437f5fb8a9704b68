"""The engines that are built. What a host does with one (command line, unit) is its role's; how it counts is the helper's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import llamacpp_options, vllm_options


@dataclass(frozen=True)
class Kind:
    """`section`: settings with its `version`; `owned`: options that steelyard sets, and what to write instead.

    `options`: version to the names it knows; `plain`: the one way to spell a name. `reloads`: takes weights in place.
    `own_loading`: has ways of loading that are measured, chosen and shared: `bench load`, `models shard`, `models cache`.
    """

    name: str
    title: str
    section: str
    newest: str
    owned: Mapping[str, str]
    options: Mapping[str, frozenset[str]]
    plain: Callable[[str], str]
    reloads: bool
    own_loading: bool


KINDS = {
    "vllm": Kind(
        "vllm", "vLLM", "vllm", vllm_options.NEWEST, vllm_options.OWN, vllm_options.KNOWN, vllm_options.plain, reloads=True,
        own_loading=True,
    ),
    "llamacpp": Kind(
        "llamacpp", "llama.cpp (xllamacpp)", "llamacpp", llamacpp_options.NEWEST, llamacpp_options.OWN, llamacpp_options.KNOWN,
        llamacpp_options.plain, reloads=False, own_loading=False,
    ),
}  # fmt: skip


def engine_folder(engine: str, version: str) -> str:
    """Where a host has a version of an engine: one environment each, so that two can live side by side."""
    return f"/opt/steelyard/engines/{engine}-{version}"
