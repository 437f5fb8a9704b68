"""Records of starts: phases out of a real log of vLLM 0.32 (a start that compiles), and of logs that say less."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from steelyard.render.tables import started_in
from steelyard_host import starts

LOG = (Path(__file__).parent.parent / "data/vllm-0.32-start.log").read_text()
BEGAN, ENDED = 1795546747.272, 1795546830.093


def by_name(found: dict[str, Any]) -> dict[str, float]:
    return {entry["phase"]: entry["seconds"] for entry in found["phases"]}


def test_phases_of_a_real_start_add_up_to_it() -> None:
    found = starts.phases(starts.parsed(LOG), BEGAN, ENDED)
    seconds = by_name(found)
    assert list(seconds) == ["import", "weights", "compile", "profile", "warm_up", "server", "first_token"]
    assert seconds["import"] == 46.745  # to `Starting to load model`, in the third process
    assert seconds["compile"] == 32.195
    assert sum(seconds.values()) == pytest.approx(found["seconds"], abs=0.01)
    assert found["said"] == {"weights_read_s": 0.01, "cache_tokens": 1048576}
    assert started_in(found) == "83 s (import 47, compile 32)"


def test_of_several_workers_the_slowest_counts_and_the_smallest_cache() -> None:
    lines = [
        (11.0, "(Worker_TP0) Loading weights took 3.50 seconds"),
        (12.0, "(Worker_TP1) Loading weights took 4.25 seconds"),
        (13.0, "(Worker_TP0) Model loading took 15.2 GiB memory and 5.1 seconds"),
        (14.0, "(Worker_TP1) Model loading took 15.2 GiB memory and 6.0 seconds"),
        (20.0, "torch.compile took 5.75 s in total"),
        (21.0, "(Worker_TP0) Available KV cache memory: 40.50 GiB"),
        (21.5, "(Worker_TP1) Available KV cache memory: 39.75 GiB"),
        (22.0, "GPU KV cache size: 325,632 tokens, Maximum concurrency for 8192 tokens per request: 39.75x"),
        (30.0, "Graph capturing finished in 8 secs, took 0.61 GiB"),
        (31.0, "init engine (profile, create kv cache, warmup model) took 17.02 s (compilation: 5.75 s)"),
    ]
    found = starts.phases(lines, 10.0, 33.0)
    assert by_name(found) == {
        "weights": 4.0, "compile": 6.0, "profile": 2.0, "capture": 8.0, "warm_up": 1.0, "first_token": 2.0,
    }  # fmt: skip
    assert found["said"] == {
        "weights_read_s": 4.25, "compile_s": 5.75, "capture_s": 8.0, "cache_gib": 39.75, "cache_tokens": 325632.0,
    }  # fmt: skip


def test_a_log_that_says_nothing_leaves_one_phase() -> None:
    phases = [{"phase": "first_token", "seconds": 2.5}]
    assert starts.phases([], 10.0, 12.5) == {"began": 10.0, "seconds": 2.5, "phases": phases, "said": {}}
    assert starts.parsed("no time\n12.5 host engine[1]: a line\n    continued\n") == [(12.5, "engine[1]: a line")]


def test_the_last_starts_are_kept_and_a_torn_record_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "RECORDS", tmp_path)

    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(words, 0, stdout="1000000" if words[0] == "systemctl" else LOG)

    monkeypatch.setattr(starts.subprocess, "run", run)
    for _ in range(starts.KEPT + 3):
        starts.note("tiny", "x.service", "/models/llm/tiny/v1", "0")
    records = starts.read("tiny")
    assert (len(records), records[-1]["version"], records[-1]["engine"]) == (starts.KEPT, "/models/llm/tiny/v1", None)
    (tmp_path / "tiny.json").write_text('[{"began": ')
    assert starts.read("tiny") == []
    starts.note("tiny", "x.service", None, "0")
    assert len(starts.read("tiny")) == 1


def test_a_start_that_cannot_be_recorded_is_a_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(starts, "RECORDS", tmp_path / "file" / "below")
    (tmp_path / "file").write_text("")

    def fails(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(words, 20)

    monkeypatch.setattr(starts.subprocess, "run", fails)
    starts.note("tiny", "x.service", None, "0")
    assert "this start is not recorded: Command" in capsys.readouterr().out
