"""Helpers of 5e44696 and of this checkout on one fleet, and one after the other on one host.

They push versions to each other, and each reads what the other left on the disk: a host whose helper was brought to
another release, either way, goes on from where it was.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from wire_recording import NEW, ROOT, recorder

from steelyard.lab.simulated import slow_link
from steelyard.lab.simulated.slow_link import LocalRelay
from steelyard.models.distribution.push import Push
from steelyard.models.sources.resolve import read_manifest
from steelyard_host.store.delta import Delta
from steelyard_host.store.layout import ManifestDocument

PROJECT = "llm/x"


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the helper of 5e44696."""
    try:
        sources: Path = recorder().sources_of("5e44696", tmp_path_factory.mktemp("older"))
    except subprocess.CalledProcessError:
        pytest.skip("this checkout does not have the commit")
    return sources


@pytest.mark.parametrize("host", ["helper_world.py", "helper_machine.py"])
@pytest.mark.parametrize("first", ["older", "newer"])
def test_each_reads_what_the_other_left_on_the_disk(older: Path, tmp_path: Path, host: str, first: str) -> None:
    wrote, reads = (older, ROOT / "src") if first == "older" else (ROOT / "src", older)
    answers = recorder().answers
    answers(wrote, tmp_path / "host", host)
    same, other = (
        json.loads(answers(sources, tmp_path / "host", host, "look"), object_hook=said) for sources in (wrote, reads)
    )
    assert other == same


def said(entry: dict[str, Any]) -> dict[str, Any]:
    """An object without what 5e44696 does not know, and without nulls that one of both leaves out."""
    unknown = ("cause", "by", "compose", "passed_over", "passed_over_count")
    return {
        name: value
        for name, value in entry.items()
        if name not in unknown and not (value is None and name in (*NEW, "doing"))
    }


def version(folder: Path, changed: int | None = None) -> Path:
    """A version of six tensors, of which one may have other bytes."""
    folder.mkdir()
    size = 1 << 20
    bodies = [random.Random(number + (100 if number == changed else 0)).randbytes(size) for number in range(6)]
    spans = {number: [number * size, (number + 1) * size] for number in range(6)}
    header = {f"t{number}": {"dtype": "U8", "shape": [size], "data_offsets": span} for number, span in spans.items()}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(bodies))
    (folder / "config.json").write_text("{}")
    return folder


def helper(sources: Path, *argv: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "steelyard_host", *argv], cwd=sources, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_hosts_of_both_releases_take_a_version_from_each_other(
    older: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sources = {"a": older, "b": ROOT / "src", "c": older, "d": ROOT / "src"}

    def push(source: Path, name: str, base: Path | None = None) -> Any:
        manifest = read_manifest(PROJECT, f"file://{source}", "models.yml")
        documents = [
            ManifestDocument(read_manifest(PROJECT, f"file://{at}", "models.yml").as_json())
            for at in [source, base]
            if at
        ]
        delta = Delta(*documents, base) if base is not None else None
        talks = {}
        for host, packages in sources.items():
            monkeypatch.setattr(slow_link, "PACKAGES", packages)
            talks[host] = LocalRelay(tmp_path / host, PROJECT, name)
        pushed = Push(manifest, source, dict.fromkeys(sources, "127.0.0.1"), {}, None, lambda event: None, delta).run(
            talks
        )
        assert {host: str(why) for host, why in pushed.errors.items()} == {}
        for host in sources:
            for reader in {*sources.values()}:
                seen = helper(reader, "store-verify", str(tmp_path / host), PROJECT, name)
                assert (seen["id"], seen["wrong"], seen["extra"]) == (manifest.id, {}, []), host
        return pushed

    first = version(tmp_path / "v1")
    push(first, "v1")
    pushed = push(version(tmp_path / "v2", changed=2), "v2", base=first)
    assert pushed.origin_bytes < pushed.size / 2  # five tensors of six were there
