"""Fit: what public models keep per token, against the engine's own reading and published figures; verdicts and
suggestions.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as some
from pyinfra.context import ctx_host

from steelyard.api.change import Refusal
from steelyard.api.unknown import Unknown
from steelyard.models.content.manifest import ManifestTensor
from steelyard.models.fit.footprint import Footprint, memory_footprint
from steelyard.models.fit.gpu_memory import GIB, ServingProfile, longest_context, memory_fit, suggestions
from steelyard.models.fit.kv_cache import ENCODERS, KvCacheGroup, kv_cache_groups, text_part
from steelyard.models.fit.report import service_fits
from steelyard.modules.operations import gpu_memory
from steelyard.site.schema import Serve
from steelyard.site.site import Service
from steelyard_host.wire.codec import to_json
from steelyard_host.wire.hardware import GpuDevice, HostMemory, PciEntry

KNOWN: dict[str, Any] = yaml.safe_load((Path(__file__).parent.parent / "data/model_configs.yml").read_text())
STATES = {"linear_attention", "mamba", "conv"}


def per_token(config: dict[str, Any]) -> int:
    """Bytes of a token in every layer, two each number, as if there were no windows."""
    groups = kv_cache_groups(config)
    assert groups is not None
    return 2 * sum(group.layers * group.values for group in groups if group.kind != "state")


def tensor(shape: list[int], width: int = 2, dtype: str = "BF16") -> ManifestTensor:
    size = width
    for length in shape:
        size *= length
    return ManifestTensor(dtype, tuple(shape), 0, size, "")


def version(name: str, weights_gib: float, dtype: str = "BF16") -> Footprint:
    """The footprint of a known model with so many bytes of weights, all of them divided."""
    size = int(weights_gib * GIB)
    entry = ManifestTensor(dtype, (size // 2, 1), 0, size, "")
    return memory_footprint(KNOWN[name]["config"], {"model.safetensors": {"model.layers.0.mlp.up_proj.weight": entry}})


def test_there_are_enough_models_and_none_is_unknown() -> None:
    assert len(KNOWN) >= 50
    assert [name for name, known in KNOWN.items() if kv_cache_groups(known["config"]) is None] == []


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_kept_is_what_the_engine_reads(name: str) -> None:
    config, engine = KNOWN[name]["config"], KNOWN[name]["engine"]
    groups = kv_cache_groups(config)
    assert groups is not None
    if text_part(config)["model_type"] in ENCODERS:
        assert groups == ()
        return
    kinds = Counter[str]()
    for kind, number in engine.get("kinds", {"full_attention": engine["layers"]}).items():
        if kind in STATES:
            kinds["state"] += number
        elif kind == "hybrid":
            kinds.update({"state": number, "full": number})
        elif kind not in ("mlp", "moe"):
            kinds["full"] += number  # with a window or without
    if (
        text_part(config)["model_type"] == "whisper"
    ):  # the engine's figures are of its attention; the sound is kept beside it
        kinds["state"] = engine["layers"]
    mine = Counter[str]()
    for group in groups:
        mine["state" if group.kind == "state" else "full"] += group.layers
        if group.kind != "state":
            assert group.values == (engine["size"] if engine["latent"] else 2 * engine["heads"] * engine["size"])
            assert group.splits == (1 if engine["latent"] else engine["heads"])
    assert mine == kinds


@pytest.mark.parametrize(
    ("name", "thousand_bytes"),  # DeepSeek-AI, "Insights into DeepSeek-V3", 2025, table 1
    [("deepseek-ai/DeepSeek-V3", 70.272), ("Qwen/Qwen2.5-72B", 327.680), ("meta-llama/Llama-3.1-405B", 516.096)],
)
def test_published_figures_are_met(name: str, thousand_bytes: float) -> None:
    assert per_token(KNOWN[name]["config"]) == thousand_bytes * 1000


def test_windows_count_and_are_where_the_model_has_them() -> None:
    windows = {
        name: sum(group.layers for group in kv_cache_groups(known["config"]) or () if group.kind == "window")
        for name, known in KNOWN.items()
    }
    assert {name: number for name, number in windows.items() if number} == {
        "mistralai/Mistral-7B-v0.1": 32,
        "google/gemma-2-9b": 21,
        "google/gemma-2-27b": 23,
        "google/gemma-3-1b-it": 22,
        "google/gemma-3-27b-it": 52,
        "microsoft/Phi-3-mini-4k-instruct": 32,
        "openai/gpt-oss-20b": 12,
        "openai/gpt-oss-120b": 18,
        "bigcode/starcoder2-15b": 40,
        "CohereLabs/c4ai-command-a-03-2025": 48,
        "meta-llama/Llama-4-Scout-17B-16E": 36,
    }


@pytest.mark.parametrize(
    ("config", "groups"),
    [
        ({"model_type": "nothing_known"}, None),
        ({"model_type": "x", "num_hidden_layers": 2}, None),
        (
            {
                "model_type": "x",
                "num_hidden_layers": 2,
                "layer_types": ["full_attention", "invented"],
                "head_dim": 8,
                "num_attention_heads": 2,
            },
            None,
        ),
        (
            {
                "model_type": "y",
                "num_hidden_layers": 2,
                "compress_ratios": [4, 128],
                "head_dim": 8,
                "num_attention_heads": 2,
            },
            None,
        ),
        ({"model_type": "x", "num_hidden_layers": 10**12, "head_dim": 8, "num_attention_heads": 2}, None),
        # the last two layers read what the second kept
        (
            {
                "model_type": "z",
                "num_hidden_layers": 4,
                "num_kv_shared_layers": 2,
                "head_dim": 8,
                "num_attention_heads": 2,
            },
            (KvCacheGroup("full", 2, 32, 2),),
        ),
        # pruned layer by layer
        (
            {
                "model_type": "nemotron-nas",
                "num_hidden_layers": 3,
                "hidden_size": 64,
                "num_attention_heads": 8,
                "block_configs": [
                    {"attention": {"n_heads_in_group": 4}},
                    {"attention": {"n_heads_in_group": None, "no_op": True}},
                    {"attention": {"n_heads_in_group": 2}},
                ],
            },
            (KvCacheGroup("full", 1, 32, 2), KvCacheGroup("full", 1, 64, 4)),
        ),
    ],
)
def test_odd_configurations(config: dict[str, Any], groups: Any) -> None:
    assert kv_cache_groups(config) == groups


@settings(max_examples=300)
@given(
    some.recursive(
        some.none()
        | some.booleans()
        | some.integers(-5, 5000)
        | some.text(max_size=5)
        | some.sampled_from(["full_attention", "M*-"]),
        lambda inner: (
            some.lists(inner, max_size=4)
            | some.dictionaries(
                some.sampled_from(
                    [
                        "num_hidden_layers",
                        "layer_types",
                        "text_config",
                        "sliding_window",
                        "kv_lora_rank",
                        "qk_rope_head_dim",
                        "hidden_size",
                        "num_attention_heads",
                        "head_dim",
                        "block_configs",
                        "attn_config",
                        "model_type",
                        "no_rope_layers",
                        "attn_layer_period",
                        "attn_layer_offset",
                        "hybrid_override_pattern",
                        "max_window_layers",
                        "use_sliding_window",
                    ]
                ),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_no_configuration_breaks_the_reader(config: Any) -> None:
    if isinstance(config, dict):
        found = memory_footprint(config, {})
        assert found.kv_cache is None or all(group.values > 0 for group in found.kv_cache)


def test_weights_divide_as_tensors_do() -> None:
    tensors = {
        "model.embed_tokens.weight": tensor([1000, 64]),
        "model.layers.0.self_attn.q_proj.weight": tensor([64, 64]),
        "model.layers.0.input_layernorm.weight": tensor([64]),
        "model.layers.0.mlp.gate.weight": tensor([8, 64]),
        "model.layers.1.mlp.gate_proj.weight": tensor([256, 64]),
    }
    found = memory_footprint({"num_hidden_layers": 2}, {"model.safetensors": tensors})
    assert found.weights_bytes == sum(entry.size for entry in tensors.values())
    assert found.outside_bytes == 1000 * 64 * 2
    assert found.whole_bytes == (64 + 8 * 64) * 2  # the norm and the router; gate_proj is no router
    one, two = (memory_fit(found, ServingProfile(tensor=size), 80 * GIB).weights_bytes for size in (1, 2))
    assert (one, two) == (found.weights_bytes, (found.weights_bytes + found.whole_bytes) // 2)
    assert memory_fit(found, ServingProfile(pipeline=2), 80 * GIB).weights_bytes < one


def test_a_model_that_is_known_to_fit_does() -> None:
    """Llama 3.1 8B in 16 bits on 24 GiB with 8,192 tokens; its 131,072 need more."""
    found = version("meta-llama/Llama-3.1-8B", 14.96)
    assert memory_fit(found, ServingProfile(context=8192), 24 * GIB).verdict in ("fits", "tight")
    whole = memory_fit(found, ServingProfile(), 24 * GIB)
    assert (whole.verdict, whole.context, whole.token_bytes) == ("no", 131072, 128 * 1024)
    assert whole.request_bytes == 16 * GIB


@pytest.mark.parametrize(
    ("name", "weights_gib", "tensor_size", "gpus", "memory_gib", "verdict"),
    [
        ("meta-llama/Llama-3.1-70B", 131.5, 4, 8, 80, "fits"),
        ("meta-llama/Llama-3.1-70B", 131.5, 1, 8, 80, "no"),
        ("meta-llama/Llama-3.1-405B", 756.0, 8, 8, 80, "no"),
        ("deepseek-ai/DeepSeek-V3", 641.0, 8, 8, 141, "fits"),
        ("deepseek-ai/DeepSeek-V3", 641.0, 8, 8, 80, "no"),
        ("Qwen/Qwen3-30B-A3B", 56.9, 1, 1, 80, "fits"),
        ("openai/gpt-oss-120b", 61.0, 1, 1, 80, "fits"),
        ("openai/gpt-oss-120b", 61.0, 1, 1, 76, "tight"),
    ],
)
def test_verdicts_over_gpus(
    name: str, weights_gib: float, tensor_size: int, gpus: int, memory_gib: int, verdict: str
) -> None:
    found = version(name, weights_gib, "F8_E4M3" if "DeepSeek" in name else "BF16")
    assert memory_fit(found, ServingProfile(tensor=tensor_size, utilization=0.9), memory_gib * GIB).verdict == verdict


def test_latent_attention_does_not_divide_over_gpus() -> None:
    found = version("deepseek-ai/DeepSeek-V3", 641.0)
    assert (
        memory_fit(found, ServingProfile(tensor=1), 1).token_bytes
        == memory_fit(found, ServingProfile(tensor=8), 1).token_bytes
        == 70272
    )
    other = version("meta-llama/Llama-3.1-70B", 131.5)
    assert (
        memory_fit(other, ServingProfile(tensor=8), 1).token_bytes
        == memory_fit(other, ServingProfile(tensor=16), 1).token_bytes
        == 320 * 1024 // 8
    )


def test_what_has_a_window_keeps_no_more_than_it() -> None:
    found = version("mistralai/Mistral-7B-v0.1", 13.5)
    short, long = (
        memory_fit(found, ServingProfile(context=tokens), 80 * GIB).request_bytes for tokens in (4096, 32768)
    )
    assert short == 4096 * 128 * 1024
    assert long == (4096 - 1 + 8192) * 128 * 1024  # and tokens in flight


def test_a_state_is_kept_once_and_not_per_token() -> None:
    found = version("state-spaces/mamba-2.8b-hf", 5.2)
    first, second = (
        memory_fit(found, ServingProfile(context=tokens), 80 * GIB).request_bytes for tokens in (1024, 1 << 20)
    )
    assert first == second == 64 * 5120 * (3 + 16) * 4
    assert longest_context(found, ServingProfile(context=1 << 20), 24 * GIB) == 1 << 20


def test_suggestions_have_room_and_less_than_them_has_none() -> None:
    found = version("meta-llama/Llama-3.1-70B", 131.5)
    said = suggestions(found, ServingProfile(), 80 * GIB, 8)
    assert said == ["tensor_parallel_size: 4"]  # 4-bit weights and 40 GiB of context have no room on one
    assert memory_fit(found, ServingProfile(tensor=2), 80 * GIB).verdict == "no"
    small = version("meta-llama/Llama-3.1-8B", 14.96)
    said = suggestions(small, ServingProfile(), 24 * GIB, 1)
    [line] = [line for line in said if line.startswith("max_model_len")]
    tokens = int(line.split()[-1])
    assert memory_fit(small, ServingProfile(context=tokens), 24 * GIB).verdict != "no"
    assert memory_fit(small, ServingProfile(context=tokens + 1024), 24 * GIB).verdict == "no"
    assert "options: {kv-cache-dtype: fp8}" not in said  # half of 16 GiB has no room either
    big = version("meta-llama/Llama-3.1-405B", 756.0)
    assert suggestions(big, ServingProfile(), 24 * GIB, 1) == []
    seventy = version("meta-llama/Llama-3.1-70B", 131.5)
    [both] = suggestions(seventy, ServingProfile(), 40 * GIB, 4)
    assert both.startswith("tensor_parallel_size: 4 with max_model_len: ")
    tokens = int(both.split()[-1])
    assert memory_fit(seventy, ServingProfile(tensor=4, context=tokens), 40 * GIB).verdict != "no"
    assert memory_fit(seventy, ServingProfile(tensor=4, context=tokens + 1024), 40 * GIB).verdict == "no"


@given(
    name=some.sampled_from(sorted(KNOWN)),
    weights=some.floats(0.1, 800),
    memory=some.integers(8, 192),
    wish=some.builds(
        ServingProfile,
        tensor=some.sampled_from([1, 2, 4, 8]),
        pipeline=some.sampled_from([1, 2]),
        context=some.integers(1, 1 << 20),
    ),
)
def test_more_memory_or_less_context_never_turns_a_yes_into_a_no(
    name: str, weights: float, memory: int, wish: ServingProfile
) -> None:
    found = version(name, weights)
    here = memory_fit(found, wish, memory * GIB)
    if here.verdict != "no":
        assert memory_fit(found, wish, (memory + 8) * GIB).verdict != "no"
        assert memory_fit(found, replace(wish, context=max(1, (wish.context or 1) // 2)), memory * GIB).verdict != "no"
    assert here.request_bytes is None or here.request_bytes >= 0


def test_what_a_service_declares_is_what_is_asked() -> None:
    plain = Serve(hosts="gpu", tensor_parallel_size=2, max_model_len=4096)
    assert ServingProfile.of(plain) == ServingProfile(tensor=2, context=4096)
    given_options = {"kv-cache-dtype": "fp8_e5m2", "max-num-seqs": 8}
    assert ServingProfile.of(Serve(hosts="gpu", pipeline_parallel_size=2, options=given_options)) == ServingProfile(
        pipeline=2, cache_width=1, sequences=8
    )
    spelled_otherwise = {"kv_cache_dtype": "fp8_e5m2", "max_num_seqs": 8}
    assert ServingProfile.of(Serve(hosts="gpu", options=spelled_otherwise)) == ServingProfile(
        cache_width=1, sequences=8
    )
    nonsense = {"max-num-seqs": "many", "max-model-len": "auto", "max-num-batched-tokens": "inf"}
    assert ServingProfile.of(Serve(hosts="gpu", options=nonsense)) == ServingProfile()


GPU = GpuDevice(memory_bytes=80 * GIB, name="NVIDIA H100")


def service(name: str, **serve: Any) -> Service:
    found = Serve(hosts="gpu", **serve)
    return Service(name, f"llm/{name}", "v1", "gpu-1", "10.0.0.1", name, found)


def host(gpus: int, on_the_bus: int | None = None, memory_gib: int = 64) -> HostMemory:
    bus = (PciEntry("gpu"),) * (gpus if on_the_bus is None else on_the_bus)
    return HostMemory((GPU,) * gpus, bus, memory_gib * GIB)


def test_a_service_is_held_against_the_gpus_of_its_host() -> None:
    seventy = version("meta-llama/Llama-3.1-70B", 131.5)
    [row] = service_fits("gpu-1", [(service("a"), seventy)], host(8))
    assert (row.verdict, row.suggestions) == ("no", ["tensor_parallel_size: 4"])
    assert row.sentence == (
        "llm/a v1: 131.5 GiB weights + about 2.1 GiB to work with + 40.0 GiB for one request of 131,072 tokens; "
        "it may take 72.0 GiB of 80.0 GiB on each NVIDIA H100"
    )
    [row] = service_fits("gpu-1", [(service("a", tensor_parallel_size=4), seventy)], host(2))
    assert (row.verdict, row.why) == ("no", "it asks for 4 GPUs, and the host has 2")
    small = version("Qwen/Qwen3-0.6B", 1.1)
    [row] = service_fits("gpu-1", [(service("a", tensor_parallel_size=3), small)], host(8))
    sizes = [f"tensor_parallel_size: {size}" for size in (1, 2, 4, 8)]
    assert (row.why, row.suggestions) == ("its 16 heads do not divide over 3 GPUs", sizes)
    [row] = service_fits("gpu-1", [(service("a", tensor_parallel_size=4), seventy)], host(4))
    assert (row.verdict, row.why, row.suggestions) == ("fits", None, [])


def test_services_of_a_host_share_its_gpus() -> None:
    small = version("Qwen/Qwen3-0.6B", 1.1)
    both = [(service("a"), small), (service("b"), small)]
    assert [row.verdict for row in service_fits("gpu-1", both, host(2))] == ["fits", "fits"]
    rows = service_fits("gpu-1", both, host(1))
    assert [row.verdict for row in rows] == ["no", "no"]
    assert rows[0].why == (
        "the services of this host share its GPUs; b: it asks for 0.9 of 1 GPUs, and 0 of 1 have that left"
    )
    three = [(service(name, gpu_memory_utilization=0.6), small) for name in "abc"]  # 1.8 of 2, and no GPU has 1.2
    assert [row.verdict for row in service_fits("gpu-1", three, host(2))] == ["no"] * 3
    halves = [(service(name, gpu_memory_utilization=0.45), small) for name in "ab"]
    assert [row.verdict for row in service_fits("gpu-1", halves, host(1))] == ["fits", "fits"]


def test_weights_and_context_are_as_wide_as_the_dtype_that_the_engine_is_told() -> None:
    small = version("Qwen/Qwen3-0.6B", 1.0)
    [plain], [wide] = (
        service_fits("gpu-1", [(service("a", max_model_len=1024, options=options), small)], host(1))
        for options in ({}, {"dtype": "float32"})
    )
    assert plain.memory_fit is not None
    assert wide.memory_fit is not None
    assert wide.memory_fit.weights_bytes == 2 * plain.memory_fit.weights_bytes
    assert wide.memory_fit.request_bytes == 2 * (plain.memory_fit.request_bytes or 0)
    packed = replace(small, quantization="awq")  # these stay as they are
    [kept_packed] = service_fits(
        "gpu-1", [(service("a", max_model_len=1024, options={"dtype": "float32"}), packed)], host(1)
    )
    assert kept_packed.memory_fit is not None
    assert kept_packed.memory_fit.weights_bytes == plain.memory_fit.weights_bytes


def test_gpus_without_a_driver_and_versions_without_figures_are_unknown_and_not_refused() -> None:
    small = version("Qwen/Qwen3-0.6B", 1.1)
    [row] = service_fits("gpu-1", [(service("a"), small)], host(0, on_the_bus=4))
    assert (row.verdict, row.why) == ("unknown", "its GPUs do not answer yet")
    [row] = service_fits("gpu-1", [(service("a"), None)], host(1))
    assert (row.verdict, row.sentence) == ("unknown", "llm/a v1: its files do not tell what it needs")
    [row] = service_fits("gpu-1", [(service("a"), memory_footprint({"model_type": "invented"}, {}))], host(1))
    assert row.verdict == "unknown"


def test_engines_on_a_processor_share_the_hosts_memory() -> None:
    small = version("Qwen/Qwen3-0.6B", 1.1)
    asked = {"max_model_len": 8192, "environment": {"VLLM_CPU_KVCACHE_SPACE": "1"}}
    [row] = service_fits("gpu-1", [(service("a", **asked), small)], host(0, memory_gib=16))
    assert (row.device, row.verdict) == ("processor", "tight")  # 0.875 GiB of the space of 1
    [row] = service_fits("gpu-1", [(service("a", max_model_len=40960), small)], host(0, memory_gib=16))
    assert (row.verdict, row.suggestions) == ("no", ["environment: {VLLM_CPU_KVCACHE_SPACE: 5}"])
    both = [(service(name, **asked), small) for name in "ab"]
    rows = service_fits("gpu-1", both, host(0, memory_gib=4))
    assert [row.verdict for row in rows] == ["no", "no"]
    assert "need 6." in str(rows[0].why) and "may take 3.6 GiB" in str(rows[0].why)


def commands(memory: HostMemory | None, *services: tuple[Service, dict[str, Any]]) -> tuple[list[Any], list[Unknown]]:
    """What the operation says of the first service on a host that answers so, and what it files as unknown."""
    filed: list[Unknown] = []
    with patch.object(gpu_memory, "host") as pretended, ctx_host.use(pretended):
        pretended.data.get.side_effect = lambda name, other=None: filed.append if name == "file_unknown" else other
        pretended.get_fact.side_effect = lambda fact, words: {("memory",): to_json(memory)}[words]
        found = list(gpu_memory.fits_gpu_memory._inner(services[0][0].name, services))  # type: ignore[attr-defined]
    return found, filed


def test_what_has_no_room_is_refused_with_numbers_and_what_would() -> None:
    seventy = version("meta-llama/Llama-3.1-70B", 131.5)
    [refused], _ = commands(host(8), (service("a"), seventy))
    assert isinstance(refused, Refusal)
    assert "131.5 GiB weights" in refused.reason
    assert refused.reason.endswith(
        "would have room: tensor_parallel_size: 4. `fit: ignore` under `serve` starts it all the same"
    )
    assert commands(host(8), (service("a", tensor_parallel_size=4), seventy)) == ([], [])


def test_before_the_helper_is_there_nothing_is_known() -> None:
    found, [unknown] = commands(None, (service("a"), version("Qwen/Qwen3-0.6B", 1.1)))
    assert (found, unknown.what) == ([], "whether a has room")


def test_a_footprint_is_read_as_it_was_written_and_keys_of_a_newer_controller_are_left_out() -> None:
    footprint = version("Qwen/Qwen3-0.6B", 1.1)
    document = json.loads(json.dumps(footprint.as_json()))
    assert Footprint.of_json(document) == footprint
    document["brand_new"] = 1
    document["kept"] = [{**group, "brand_new": 1} for group in document["kept"]]
    assert Footprint.of_json(document) == footprint
    assert Footprint.of_json({}) is None, "published before there were any"
