"""vLLM's CPU build and AMX: what would be killed is told before it is started, and what the lab starts is none of
it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from jinja2 import Environment

from steelyard.lab.inventory_files import TEMPLATES
from steelyard.lab.simulated import tiny_model
from steelyard.modules.facts.processor import ProcessorState
from steelyard.roles.vllm.amx import killed_by_amx
from steelyard.site.schema import ModelsFile, Serve

WITH_AMX = ProcessorState(amx=True, accelerator=False, compiler=True, headers=True)
WITHOUT = replace(WITH_AMX, amx=False)
EAGER = {"enforce-eager": True}
SPACE = {"VLLM_CPU_KVCACHE_SPACE": "1"}


def serve(**given: Any) -> Serve:
    return Serve.model_validate({"hosts": "gpu", "port": 8000, "options": EAGER, "environment": SPACE, **given})


def test_the_labs_service_runs_with_amx_and_without() -> None:
    """Whatever processor `make demo`, tests and CI run on."""
    text = (TEMPLATES / "group_vars/all/models.yml.j2").read_text()
    declared = ModelsFile.model_validate(yaml.safe_load(Environment().from_string(text).render(models="/models")))
    types = {"BF16": 1} if tiny_model.config()["torch_dtype"] == "bfloat16" else {}
    for model in declared.models.values():
        assert model.serve is not None
        assert not killed_by_amx(model.serve, types, WITH_AMX)
        without_dtype = model.serve.model_copy(update={"options": EAGER})
        assert killed_by_amx(without_dtype, types, WITH_AMX), "the lab would not notice"
        assert not killed_by_amx(without_dtype, types, WITHOUT)


@pytest.mark.parametrize(
    ("given", "types", "killed"),
    [
        ({}, {"BF16": 9}, True),
        ({}, {}, True),  # nobody knows its weights yet
        ({}, {"F16": 9}, False),
        ({"options": {**EAGER, "dtype": "bfloat16"}}, {"F16": 9}, True),
        ({"options": {**EAGER, "dtype": "float32"}}, {"BF16": 9}, False),
        ({"options": {"enforce_eager": True}}, {"BF16": 9}, True),
        ({"options": {"no-enforce-eager": False}}, {"BF16": 9}, True),
        ({"options": {"no_enforce_eager": True}}, {"BF16": 9}, False),
        ({"options": {}}, {"BF16": 9}, False),  # what compiles asks for the tiles
        ({"environment": {}}, {"BF16": 9}, False),  # so does the measuring of memory
        ({"environment": {}, "options": {**EAGER, "kv-cache-memory-bytes": "1G"}}, {"BF16": 9}, True),
        ({"engine": "llamacpp", "options": {}}, {}, False),
    ],
)
def test_only_what_would_be_killed_is_told(given: dict[str, Any], types: dict[str, int], killed: bool) -> None:
    assert killed_by_amx(serve(**given), types, WITH_AMX) == killed
    assert not killed_by_amx(serve(**given), types, WITHOUT)


def test_a_gpu_hosts_service_is_the_cpu_builds_only_where_it_says_so() -> None:
    gpus = replace(WITH_AMX, accelerator=True)
    assert killed_by_amx(serve(), {"BF16": 1}, gpus)
    assert not killed_by_amx(serve(environment={}, options={**EAGER, "kv-cache-memory-bytes": "1G"}), {"BF16": 1}, gpus)
