"""`models prune`: what this machine fetched or made goes when nobody needs it, and nothing else does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from steelyard.models.sources.record import (
    Record,
    listing_hash,
    publish,
    record_path,
    sha256_of,
    source_folder,
    write_record,
)
from steelyard.models.sources.resolve import resolve_version
from steelyard.site.schema import Conversion

STEELYARD = str(Path(sys.executable).parent / "steelyard")
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/schemas/steelyard.schema.json").read_text())
WEIGHTS = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
DAY = 86400
URL = "https://models.example/tiny/"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture
def prune(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs it on an inventory that declares `source`."""

    def run(source: str = "", *words: str, more: str = "", answer: str = "", exit: int = 0) -> Any:
        everybody = tmp_path / "site/group_vars/all"
        everybody.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site/hosts.yml").write_text("all: {hosts: {gpu-1: {ansible_host: 127.0.0.1}}}\n")
        declared = f"models: {{llm/tiny: {{source: '{source}', version: v1{more}}}}}\n" if source else "models: {}\n"
        (everybody / "models.yml").write_text(declared)
        command = [STEELYARD, "models", "prune", "-i", str(tmp_path / "site"), *words]
        done = subprocess.run(command, capture_output=True, text=True, input=answer)
        assert done.returncode == exit, done.stdout + done.stderr
        if "--json" not in words:
            return done.stdout
        found = json.loads(done.stdout)
        jsonschema.validate(found, SCHEMA)
        return found

    return run


def fetched(config: bytes, days: float = 31) -> str:
    """As `models add` leaves it, downloaded so many days ago. Gives the pin."""
    url, then = URL, time.time() - days * DAY
    working = source_folder(url) / "files"
    working.mkdir(parents=True, exist_ok=True)
    for name, content in (("config.json", config), ("model.safetensors", WEIGHTS)):
        if (working / name).is_file() and (working / name).read_bytes() == content:
            continue  # what is here is not fetched again
        (working / name).unlink(missing_ok=True)
        (working / name).write_bytes(content)
        os.utime(working / name, (then, then))
    hashes = {name: f"sha256:{sha256_of(working / name)}" for name in ("config.json", "model.safetensors")}
    pinned = f"{url}#sha256={listing_hash(hashes)}"
    publish(pinned, working, hashes)
    resolve_version("llm/tiny", pinned, "x")  # its hashes are kept too
    return pinned


def age(tmp_path: Path, days: float) -> None:
    """Everything that is kept was last used so long ago. A model's own files keep their time: their hashes are kept
    under it.
    """
    then, cache = time.time() - days * DAY, tmp_path / "XDG_CACHE_HOME/steelyard"
    records = (tmp_path / "XDG_STATE_HOME/steelyard/sources").glob("*")
    for path in (*records, *cache.glob("hashes/*"), *cache.glob("shaped/*"), *cache.rglob("*.part")):
        os.utime(path, (then, then))


def kinds(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["kind"] for row in rows)


def test_what_is_declared_stays_however_old_it_is(prune: Any, tmp_path: Path) -> None:
    pinned = fetched(b"{}")
    before = resolve_version("llm/tiny", pinned, "x").manifest.id
    age(tmp_path, 400)
    found = prune(pinned, "--yes", "--json")
    assert kinds(found["removed"]) == ["address", "hashes"]
    assert [(row["name"], row["why"]) for row in found["stays"]] == [(pinned, "declared")]
    assert resolve_version("llm/tiny", pinned, "x").manifest.id == before


def test_what_nobody_uses_any_more_goes_with_its_record(prune: Any, tmp_path: Path) -> None:
    old, declared = fetched(b"[]"), fetched(b"{}")
    age(tmp_path, 31)
    found = prune(declared, "--yes", "--json")
    assert [row["name"] for row in found["removed"] if row["kind"] == "fetched"] == [old]
    assert not source_folder(old).exists()
    assert not record_path(old).exists()
    # links of what stays free nothing: the config of the old one, and the hashes
    hashes = sum(row["bytes"] for row in found["removed"] if row["kind"] == "hashes")
    assert found["freed_bytes"] == record_bytes(old, declared) + hashes + len(b"[]")
    assert prune(declared, "--yes").splitlines()[-1] == "nothing to remove"


def record_bytes(gone: str, alike: str) -> int:
    """Size of a record that has gone: that of one with the same shape."""
    assert len(gone) == len(alike)
    return record_path(alike).stat().st_size


@pytest.mark.parametrize("days", [0, 29])
def test_what_another_inventory_used_lately_stays(prune: Any, tmp_path: Path, days: int) -> None:
    pinned = fetched(b"{}", days)
    age(tmp_path, days)
    found = prune("", "--yes", "--json")
    assert found["removed"] == []
    assert {row["why"] for row in found["stays"]} == {"used since"}
    assert resolve_version("llm/tiny", pinned, "x")


def test_a_use_counts_as_one(prune: Any, tmp_path: Path) -> None:
    pinned = fetched(b"{}")
    age(tmp_path, 31)
    resolve_version("llm/tiny", pinned, "x")
    found = prune("", "--yes", "--json")
    assert kinds(found["removed"]) == ["address"]
    assert kinds(found["stays"]) == ["fetched", "hashes"]


def test_what_is_on_its_way_stays_even_where_everything_may_go(prune: Any, tmp_path: Path) -> None:
    fetched(b"{}", days=0)
    part = source_folder("https://models.example/other/") / "files/model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    found = prune("", "--unused-for", "0", "--yes", "--json")
    assert kinds(found["removed"]) == ["fetched", "hashes"]
    assert {row["why"] for row in found["stays"]} == {"may be on its way"}
    assert part.exists()
    age(tmp_path, 1.1)
    found = prune("", "--unused-for", "0", "--yes", "--json")
    assert [(row["kind"], row["name"], row["bytes"]) for row in found["removed"]] == [("address", "unknown", 1000)]
    assert not part.exists()


def test_converted_files_stay_as_long_as_their_model_is_declared(prune: Any, tmp_path: Path) -> None:
    local = tmp_path / "weights"
    local.mkdir()
    (local / "config.json").write_text("{}")
    header = b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}   '
    (local / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"1234")
    resolve_version("llm/tiny", f"file://{local}", "x", conversion=Conversion(shard_mib=16), make=True)
    age(tmp_path, 31)
    found = prune(f"file://{local}", "--yes", "--json", more=", shard_mib: 16")
    assert [(row["kind"], row["why"]) for row in found["stays"]] == [("shaped", "declared")]
    found = prune(f"file://{local}", "--yes", "--json")
    assert kinds(found["removed"]) == ["shaped"]
    assert (local / "model.safetensors").exists()


def test_the_hubs_own_cache_is_told_and_left(prune: Any, tmp_path: Path) -> None:
    folder = tmp_path / "hub/models--org--name/snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    write_record(Record(f"hf://org/name@{'a' * 40}", str(folder), None, {"config.json": "git:x"}))
    age(tmp_path, 400)
    found = prune("", "--yes", "--json")
    assert found["removed"] == []
    assert [(row["kind"], row["bytes"]) for row in found["stays"]] == [("hub", 2)]
    assert (folder / "config.json").exists()


def test_it_asks_first_and_a_no_removes_nothing(prune: Any, tmp_path: Path) -> None:
    pinned = fetched(b"{}")
    age(tmp_path, 31)
    told = prune("", answer="n\n", exit=1)
    # the second column: what has no room in a line goes on in the next, and nothing of it is cut
    first, *_ = told.split("downloads of")
    begin, end = (first.splitlines()[1].index(word) for word in ("https://", "  0.0 MiB"))
    assert "".join(line[begin:end].strip() for line in first.splitlines()[1:]) == pinned
    assert "goes" in told
    assert resolve_version("llm/tiny", pinned, "x")


def test_with_nothing_fetched_there_is_nothing_to_remove(prune: Any) -> None:
    assert prune("") == "nothing to remove\n"


def test_a_link_to_a_folder_of_others_is_not_followed(prune: Any, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "x").write_text("x")
    source_folder("x").parent.mkdir(parents=True)
    source_folder("x").symlink_to(theirs)
    assert prune("", "--unused-for", "0", "--yes") == "nothing to remove\n"
    assert (theirs / "x").exists()
