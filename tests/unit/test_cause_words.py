"""Words of engines and their libraries that no journal of ours holds, taken from their sources: each has its cause, and
none another's.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steelyard_host.causes import diagnosis
from steelyard_host.causes.diagnosis import Host

WORDS = json.loads((Path(__file__).parent.parent / "data/cause-words.json").read_text())
UNIT = "steelyard-vllm@chat.service"
MEMORY = (
    "CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 5.00 MiB is free."
)
GONE = "CUDA out of memory: 1.00 GiB were asked of GPU 0, 5.00 MiB of its 79.11 GiB are free"


def logged(name: str, pid: int, *texts: str) -> list[str]:
    return [f"100.000000 vllm[{pid}]: ({name} pid={pid}) ERROR 11-30 03:46:18 [x.py:1] {text}" for text in texts]


def exception(text: str) -> list[str]:
    return ["Traceback (most recent call last):", '  File "/x.py", line 1, in f', text]


def sentence(lines: list[str]) -> str:
    found = diagnosis.cause(lines, Host(unit=UNIT))
    assert found is not None
    return found.sentence


@pytest.mark.parametrize("name", sorted(WORDS))
def test_words_of_the_sources_have_their_cause(name: str) -> None:
    said = WORDS[name]
    found = diagnosis.cause(
        [f"100.000000 vllm[7]: {line}" for line in said["lines"]], Host(unit=UNIT, kind=said["kind"])
    )
    assert found is not None
    assert [found.code, found.sentence] == [said["code"], said["sentence"]]
    assert "?" not in found.sentence
    assert "{" not in found.fix


def test_what_an_engine_dumps_of_itself_is_no_cause() -> None:
    """vLLM prints its whole configuration as an error when it dies: names of options, and words that rules know."""
    dump = (
        "Dumping input data for V1 LLM engine (v0.32.0) with config: quantization=None, "
        "num_gpu_blocks_override=None, num_speculative_tokens=2,"
    )
    lines = logged("EngineCore", 8, dump, *exception(f"torch.OutOfMemoryError: {MEMORY}"))
    assert sentence(lines) == GONE
    assert "Dumping" not in sentence(logged("EngineCore", 8, *exception("KeyError: 'x'"), dump))


def test_what_a_server_said_to_a_request_is_no_cause_beside_the_words_of_the_engine() -> None:
    """The server's rule comes before the core's in the list, and its words before the core's in the journal."""
    request = exception("ValueError: LoRA rank 64 is greater than max_lora_rank 16.")
    lines = [
        *logged("APIServer", 7, *request),
        *logged("EngineCore", 8, *exception(f"torch.OutOfMemoryError: {MEMORY}")),
    ]
    assert sentence(lines) == GONE


def test_of_workers_the_one_that_knows_is_heard_and_not_the_one_that_waited_for_it() -> None:
    waited = exception("RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)")
    lines = [
        *logged("Worker_TP0", 8, *waited),
        *logged("Worker_TP1", 9, *exception(f"torch.OutOfMemoryError: {MEMORY}")),
    ]
    assert sentence(lines) == GONE
