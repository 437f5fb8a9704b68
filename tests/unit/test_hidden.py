"""No secret is in a cause or beside it, whoever said it and how; and no line is too long to be judged."""

from __future__ import annotations

import json

import pytest

from steelyard_host.causes import diagnosis, evidence
from steelyard_host.causes import journal as said
from steelyard_host.causes.diagnosis import Host
from steelyard_host.causes.redaction import MASK, hide, is_secret
from steelyard_host.wire.codec import to_json
from steelyard_host.wire.rollout import Cause

UNIT = "steelyard-vllm@broken.service"
TRACE = ["Traceback (most recent call last):", '  File "x.py", line 1, in f']
# what engines and their libraries print, with a secret in it
SAID = [
    "vllm: error: these belong together: --hf-token Pa55word-of-mine --x",
    "vllm serve: error: argument --api-key: invalid choice: 'Pa55word-of-mine' (choose from a, b)",
    "vllm serve: error: argument --hf-token/-t: Value Pa55word-of-mine cannot be converted",
    "requests.exceptions.ConnectionError: https://bob:Pa55word-of-mine@mirror.example/x: max retries",
    "HTTPError: 403 Client Error: Forbidden for url: https://s3.example/x?X-Amz-Signature=Pa55word-of-mine&a=b",
    "RuntimeError: header Authorization: Bearer Pa55word-of-mine was refused",
    "KeyError: \"environ({'VLLM_API_KEY': 'Pa55word-of-mine', 'PATH': '/x'})\"",
    "ValueError: Namespace(api_key=['Pa55word-of-mine'], ssl_keyfile_password=\"Pa55word-of-mine\")",
    "ValueError: AWS_SECRET_ACCESS_KEY=Pa55word-of-mine, password: Pa55word-of-mine",
    "ValueError: Invalid value 'Pa55word-of-mine' for VLLM_API_KEY. Valid options: a",
    "ValueError: invalid literal for int() with base 10: 'Pa55word-of-mine'",
]
FIELD = """pydantic_core._pydantic_core.ValidationError: 1 validation error for FrontendArgs
api_key
  Input should be a valid list [type=list_type, input_value='Pa55word-of-mine', input_type=str]
    For further information visit https://errors.pydantic.dev/2.12/v/list_type"""
PLAIN = [
    "TypeError: got an unexpected keyword: eos_token='</s>', max_num_batched_tokens=64, tokenizer=/x",
    "_pickle.UnpicklingError: invalid load key, 'v'.",
    "KeyError: 'model.layers.0.self_attn.k_proj.weight'",
    "https://huggingface.co/models",
    "argument --ssl-keyfile: expected one argument",
]


def lines(*texts: str) -> list[str]:
    return [f"100.000000 vllm[7]: {text}" for text in texts]


def judged(*texts: str) -> Cause:
    found = diagnosis.cause(lines(*texts), Host(unit=UNIT, environment=(("VLLM_API_KEY", "Pa55word-of-mine"),)))
    assert found is not None
    return found


@pytest.mark.parametrize("text", [*SAID, FIELD], ids=lambda text: text[:30])
@pytest.mark.parametrize("trace", [[], TRACE], ids=["line", "exception"])
def test_no_cause_holds_a_secret(text: str, trace: list[str]) -> None:
    found = judged(*trace, *text.splitlines())
    assert "Pa55word" not in json.dumps(to_json(found))
    assert MASK in found.sentence or (text == FIELD and not trace)  # lines of its own, where no traceback binds them


def test_neither_does_the_last_step_nor_the_log_beside_a_cause(capsys: pytest.CaptureFixture[str]) -> None:
    args = "INFO 11-30 03:46:18 [utils.py:1] non-default args: {'model': '/m', 'api_key': ['Pa55word-of-mine']}"
    journal = [*lines(args), f"101.000000 systemd[1]: {UNIT}: Failed with result 'timeout'."]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "_output", lambda words: "\n".join(journal) if "-u" in words else "")
        evidence.show(UNIT)
    shown = capsys.readouterr().err
    assert "non-default args" in shown
    assert "Pa55word" not in shown + diagnosis.slow(journal).sentence


@pytest.mark.parametrize("text", PLAIN, ids=lambda text: text[:30])
def test_what_is_no_secret_stays(text: str) -> None:
    assert hide(text) == text


def test_a_masked_text_stays_as_it_is() -> None:
    assert all(hide(hide(text)) == hide(text) for text in SAID)


@pytest.mark.parametrize(
    ("name", "secret"), [("VLLM_API_KEY", True), ("HF_TOKEN", True), ("VLLM_CPU_KVCACHE_SPACE", False)]
)
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


def test_no_text_that_rules_look_at_is_longer_than_a_bound() -> None:
    """Rules take time that grows with the square of a text; journald lets a line have 48 KiB."""
    long = "libx.so" * 7000
    journal = said.safe(
        lines(*TRACE, *[f"ValueError: {long}", *[long] * 6], *TRACE, f"ERROR 11-30 03:46:18 [x.py:1] {long}")
    )
    texts = [text for process in said.processes(journal) for text in process.texts()]
    assert texts
    assert max(map(len, [*journal, *texts])) <= said.WIDEST
