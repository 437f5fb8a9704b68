"""Names that lead elsewhere, of every source; and what an archive may become, in bytes, headers, memory and time.

Inputs are small and harmless: limits are lowered to them, or they only claim to be large.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_hub import SimulatedHub, add, hub
from test_object_sources import ASKED, SimulatedModelScope, bucket, modelscope

from steelyard.errors import SourceRefused
from steelyard.models.content.file_policy import allowed_files
from steelyard.models.sources import decompression, fetch, parse
from steelyard.models.sources.archive import unpack
from steelyard.models.sources.decompression import ArchiveLimit, Decompressed, packed_by

__all__ = ["bucket", "hub", "modelscope"]  # fixtures

WEIGHTS = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
ELSEWHERE = ["../victim", "a/../../victim", "..", "", "a\\..\\victim", "a\nb", "a\x1b[2J", "x\0y", "\udcff", "a\u202eb"]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[str]:
    """The absolute name of a file of the operator's, which stays as it is, among files that stay the same ones."""
    path = tmp_path / "victim"
    path.write_text("mine")
    yield str(path)
    assert path.read_text() == "mine"
    cached = [entry for entry in (tmp_path / "XDG_CACHE_HOME").rglob("*") if entry.is_file()]
    assert [entry.name for entry in cached if entry.suffix != ".tar"] == []


@pytest.mark.parametrize("name", [*ELSEWHERE, "/etc/victim", ".hidden/../../x"])
def test_a_name_that_leads_elsewhere_is_refused_and_not_left_out(name: str) -> None:
    names, refused = allowed_files(["config.json", name], code=True, pickles=True)
    assert names == []
    assert refused is not None
    assert refused[0] == name
    assert refused[1].startswith("its name")


@given(st.lists(st.text(max_size=20), max_size=5))
def test_whatever_is_allowed_lies_in_the_folder(names: list[str]) -> None:
    for name in allowed_files(names, code=True, pickles=True)[0]:
        assert Path("/folder", name).resolve().is_relative_to("/folder")
        assert Path("/folder", name) != Path("/folder")


def test_a_listing_of_modelscope_touches_no_file_elsewhere(modelscope: SimulatedModelScope, victim: str) -> None:
    for name in (victim, "../../../victim"):
        modelscope.files = {"config.json": b"{}", name: b"theirs"}
        modelscope.served = {name: b"other than listed"}
        with pytest.raises(SourceRefused, match="its name leaves the folder"):
            fetch(parse("modelscope://org/name", "x"), ASKED)


def test_a_tree_of_a_hub_touches_no_file_elsewhere(hub: SimulatedHub, victim: str) -> None:
    for name in (victim, "../../../victim"):
        hub.files = {"config.json": b"{}", name: b"theirs"}
        with pytest.raises(SourceRefused, match="its name leaves the folder"):
            add(hub)
    assert not any("/resolve/" in asked for asked in hub.asked), "nothing was fetched"


def test_objects_of_a_bucket_touch_no_file_elsewhere(bucket: Any, victim: str) -> None:
    for number, name in enumerate((victim, "a/../../victim")):
        bucket.put_object(Bucket="models", Key=f"elsewhere{number}/{name}", Body=b"theirs")
        bucket.put_object(Bucket="models", Key=f"elsewhere{number}/config.json", Body=b"{}")
        with pytest.raises(SourceRefused, match="its name leaves the folder"):
            fetch(parse(f"s3://models/elsewhere{number}", "x"), ASKED)


def test_objects_that_stand_for_folders_are_left_out(bucket: Any) -> None:
    for key in ("marked/v1/", "marked/v1/sub/", "marked/v1/sub_$folder$", "marked/v1_$folder$"):
        bucket.put_object(Bucket="models", Key=key, Body=b"")
    bucket.put_object(Bucket="models", Key="marked/v1/sub/model.safetensors", Body=WEIGHTS)
    for prefix in ("marked/v1", "marked/v1/"):
        assert list(fetch(parse(f"s3://models/{prefix}", "x"), ASKED).files) == ["sub/model.safetensors"]


def tar_of(content: bytes, name: str = "model.safetensors", claims: int | None = None, **more: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **more) as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    data = bytearray(out.getvalue())
    if claims is not None:
        entry.size = claims
        data[:512] = entry.tobuf(tarfile.GNU_FORMAT)[:512]
    return bytes(data)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
}


def refused(folder: Path, data: bytes, kind: str = "x.tar.gz") -> str:
    archive = folder / "archive"
    archive.write_bytes(data)
    with pytest.raises(SourceRefused) as told:
        unpack(archive, kind, folder / "out", "llm/x", "source")
    assert not (folder / "out").exists()
    assert "\n" not in str(told.value)
    return told.value.why


@pytest.mark.parametrize("pack", PACKERS)
def test_more_bytes_than_an_archive_may_become_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: str
) -> None:
    monkeypatch.setattr(decompression, "LEAST", 10_000)
    why = refused(tmp_path, PACKERS[pack](tar_of(bytes(3 << 20))))
    assert "it unpacks to more than" in why


@pytest.mark.parametrize("pack", PACKERS)
def test_bytes_that_no_member_has_are_counted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: str) -> None:
    monkeypatch.setattr(decompression, "LEAST", 10_000)
    monkeypatch.setattr(decompression, "MOST_MEMBERS", 2)
    archive = tmp_path / "x"
    archive.write_bytes(PACKERS[pack](bytes(3 << 20)))
    read = 0
    with pytest.raises(ArchiveLimit):
        stream = Decompressed(archive, pack)
        while True:
            read += len(stream.read(4096))
    assert read <= decompression.unpacked_limit(archive) + 2 * 4 * tarfile.BLOCKSIZE


def test_a_size_that_is_only_claimed_is_refused_before_a_byte_of_it_is_read(tmp_path: Path) -> None:
    why = refused(tmp_path, gzip.compress(tar_of(b"{}", claims=2 << 30)))
    assert why == f"it unpacks to more than {1 << 30} bytes: 100 times its own size is taken for a trap"


LONG = 3 << 20  # bytes of a name, which packs to a few thousand


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_header_larger_than_any_name_is_not_read(tmp_path: Path, form: int, packed: bool) -> None:
    data = tar_of(b"{}", "x" * LONG, format=form)
    why = refused(tmp_path, gzip.compress(data) if packed else data)
    assert "bytes for names and attributes" in why


def test_a_name_as_long_as_a_file_system_allows_is_unpacked(tmp_path: Path) -> None:
    name = "/".join(["y" * 200] * 4)
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        (tmp_path / "x").write_bytes(gzip.compress(tar_of(b"{}", f"top/{name}", format=form)))
        unpack(tmp_path / "x", "x.tar.gz", tmp_path / str(form), "llm/x", "source")
        assert (tmp_path / str(form) / name).read_bytes() == b"{}"


def test_more_files_than_a_model_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steelyard.models.sources.archive.MOST_MEMBERS", 3)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number in range(4):
            archive.addfile(tarfile.TarInfo(f"{number}.json"))
    assert refused(tmp_path, out.getvalue(), "x.tar") == "it has more than 3 files"


def test_a_decoder_gets_no_more_memory_than_the_strongest_setting_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strongest = lzma.compress(tar_of(WEIGHTS), preset=9 | lzma.PRESET_EXTREME)
    (tmp_path / "x").write_bytes(strongest)
    unpack(tmp_path / "x", "x.tar.xz", tmp_path / "whole", "llm/x", "source")
    assert (tmp_path / "whole/model.safetensors").read_bytes() == WEIGHTS
    monkeypatch.setattr(decompression, "DECODER", 8 << 20)
    assert "the archive cannot be read: Memory usage limit exceeded" in refused(tmp_path, strongest, "x.tar.xz")


def test_an_archive_that_gives_nothing_for_long_is_given_up(tmp_path: Path) -> None:
    archive = tmp_path / "x"
    archive.write_bytes(gzip.compress(hashlib.sha256(b"x").digest() * 100_000))
    hours = iter(range(0, 10_000_000, 3600))
    with pytest.raises(ArchiveLimit, match=r"in 3600 s only \d+ bytes came out of it"):
        Decompressed(archive, "gzip", clock=lambda: next(hours)).read(1 << 30)


def test_a_zip_whose_decoder_has_no_limit_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("config.json", b"{}")
    assert "no limit of memory" in refused(tmp_path, out.getvalue(), "x.zip")


def test_a_zip_that_becomes_more_than_it_may_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompression, "LEAST", 10_000)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(3 << 20))
    assert "it unpacks to more than" in refused(tmp_path, out.getvalue(), "x.zip")


@given(
    st.lists(st.binary(max_size=3000), min_size=1, max_size=3),
    st.sampled_from(sorted(PACKERS.keys() - {"lzma"})),
    st.lists(st.integers(1, 5000), min_size=1, max_size=4),
    st.sampled_from([0, 4, 512]),
)
def test_what_is_decompressed_is_what_was_packed(parts: list[bytes], pack: str, sizes: list[int], padding: int) -> None:
    """Of one stream or several, with zeros behind them or not, in reads of any size."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "x")
        archive.write_bytes(b"".join(map(PACKERS[pack], parts)) + bytes(padding))
        assert packed_by(archive) == pack
        stream, out, turn = Decompressed(archive, pack), b"", 0
        while data := stream.read(sizes[turn % len(sizes)]):
            out, turn = out + data, turn + 1
        stream.close()
    assert out == b"".join(parts)


@pytest.mark.parametrize("pack", PACKERS)
def test_an_archive_that_was_cut_is_told_and_not_waited_for(tmp_path: Path, pack: str) -> None:
    data = PACKERS[pack](tar_of(bytes(range(256)) * 4000))
    assert "the archive cannot be read" in refused(tmp_path, data[:-30], f"x.tar.{pack}")
