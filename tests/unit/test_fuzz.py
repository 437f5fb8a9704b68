"""A fixed number of inputs through the coverage-guided fuzzer, from a corpus of good and of known hostile files."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from test_convert import checkpoint, tensor
from test_web_source import FILES, tar

pytest.importorskip("atheris", reason="atheris has no wheel for this Python")
HERE = Path(__file__).parent
RUNS = 20_000


def test_readers_of_hostile_files_end_every_input_with_a_sentence(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    header = b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"__metadata__":{"format":"pt"}}'
    (corpus / "header").write_bytes(b"\0" + struct.pack("<Q", len(header)) + header + b"1234")
    (corpus / "pickle").write_bytes(b"\1" + checkpoint(tmp_path / "x.bin", {"a": tensor("0", (4, 5))}).read_bytes())
    (corpus / "zip").write_bytes(b"\2" + (tmp_path / "x.bin").read_bytes())
    (corpus / "tar").write_bytes(b"\3" + tar(FILES))
    command = [
        sys.executable,
        HERE / "fuzz_headers.py",
        f"-runs={RUNS}",
        "-seed=1",
        "-max_len=4096",
        "-rss_limit_mb=4096",
        corpus,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {RUNS} runs" in done.stderr, done.stderr[-1000:]
