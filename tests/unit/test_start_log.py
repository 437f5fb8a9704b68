"""Records of starts: phases out of a real log of vLLM 0.32 (a start that compiles), and of logs that say less."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from steelyard.render.tables import started_in
from steelyard_host.engine import start_log
from steelyard_host.engine.service import HostService
from steelyard_host.wire.services import Phase, Start

LOG = (Path(__file__).parent.parent / "data/vllm-0.32-start.log").read_text()
TINY = HostService("tiny", {})
BEGAN, ENDED = 1795546747.272, 1795546830.093


def by_name(start: Start) -> dict[str, float]:
    return {phase.phase: phase.seconds for phase in start.phases}


def test_phases_of_a_real_start_add_up_to_it() -> None:
    start = start_log.start_of(start_log.parsed(LOG), BEGAN, ENDED)
    seconds = by_name(start)
    assert list(seconds) == ["import", "weights", "compile", "profile", "warm_up", "server", "first_token"]
    assert seconds["import"] == 46.745  # to `Starting to load model`, in the third process
    assert seconds["compile"] == 32.195
    assert sum(seconds.values()) == pytest.approx(start.seconds, abs=0.01)
    assert start.said == {"weights_read_s": 0.01, "cache_tokens": 1048576}
    assert started_in(start) == "83 s (import 47, compile 32)"


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
    start = start_log.start_of(lines, 10.0, 33.0)
    assert by_name(start) == {
        "weights": 4.0,
        "compile": 6.0,
        "profile": 2.0,
        "capture": 8.0,
        "warm_up": 1.0,
        "first_token": 2.0,
    }
    assert start.said == {
        "weights_read_s": 4.25,
        "compile_s": 5.75,
        "capture_s": 8.0,
        "cache_gib": 39.75,
        "cache_tokens": 325632.0,
    }


def test_a_log_that_says_nothing_leaves_one_phase() -> None:
    assert start_log.start_of([], 10.0, 12.5) == Start(10.0, 2.5, (Phase("first_token", 2.5),), {})
    assert start_log.parsed("no time\n12.5 host engine[1]: a line\n    continued\n") == [(12.5, "engine[1]: a line")]


def test_the_last_starts_are_kept_and_a_torn_record_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_log, "RECORDS", tmp_path)

    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        shown = "ExecMainStartTimestampMonotonic=1000000"
        return subprocess.CompletedProcess(words, 0, stdout=shown if words[0] == "systemctl" else LOG)

    monkeypatch.setattr(start_log.subprocess, "run", run)
    for _ in range(start_log.MOST + 3):
        start_log.note(TINY, "/models/llm/tiny/v1", 0)
    records = start_log.read("tiny")
    assert (len(records), records[-1].version, records[-1].engine) == (
        start_log.MOST,
        "/models/llm/tiny/v1",
        None,
    )
    (tmp_path / "tiny.json").write_text('[{"began": ')
    assert start_log.read("tiny") == []
    start_log.note(TINY, None, 0)
    assert len(start_log.read("tiny")) == 1


def test_a_start_that_cannot_be_recorded_is_a_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start_log, "RECORDS", tmp_path / "file" / "below")
    (tmp_path / "file").write_text("")

    def fails(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(words, 20)

    monkeypatch.setattr(start_log.subprocess, "run", fails)
    start_log.note(TINY, None, 0)
    assert "this start is not recorded: Command" in capsys.readouterr().out
