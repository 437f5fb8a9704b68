"""Folders of wheels, words and addresses that are not what they should be: each is a sentence or a named problem."""

from __future__ import annotations

import json
import socketserver
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from wheel_index import wheel

from steelyard.artifacts.kernels import read_kernels
from steelyard.artifacts.wheel_folder import RECORD, read_folder
from steelyard.artifacts.wheel_index import Index, index_of
from steelyard.artifacts.wheel_metadata import fetch_all, metadata_of, with_sizes
from steelyard.artifacts.wheel_push import require_as_locked
from steelyard.artifacts.wheel_resolution import Wheel
from steelyard.artifacts.wheel_sets import wheel_set
from steelyard.artifacts.wheel_target import target
from steelyard.artifacts.wheel_verify import verify
from steelyard.errors import KernelsIncomplete, UsageWrong, WheelSetUnknown, WheelsNotAsLocked, WheelsTargetWrong
from steelyard_host.mirror import wheels as host_wheels

VERSION = "2026.10.11549"
ENGINE = wheel("xllamacpp", VERSION, licence="MIT")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set of one wheel, as a mirror has it: with a lock, and without a record."""
    path = tmp_path / f"llamacpp-{VERSION}"
    (path / "files").mkdir(parents=True)
    (path / "files" / ENGINE[0]).write_bytes(ENGINE[1])
    host_wheels.index(path)
    return path


def problems(path: Path) -> list[tuple[str, str]]:
    return [(problem.what, problem.file) for problem in verify(read_folder(path)).problems]


def test_a_wheel_whose_metadata_does_not_unpack_is_altered(folder: Path) -> None:
    path = folder / "files" / ENGINE[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"xllamacpp-{VERSION}.dist-info/METADATA", "Name: xllamacpp\n" * 99)
    host_wheels.index(folder)
    with zipfile.ZipFile(path) as archive:
        member = archive.infolist()[0]
    content = bytearray(path.read_bytes())
    content[member.header_offset + 30 + len(member.filename)] = 0xFF  # an invalid block
    path.write_bytes(content)
    assert metadata_of(path) is None
    assert problems(folder) == [("altered", ENGINE[0])]


def test_every_file_that_the_lock_does_not_name_is_extra(folder: Path) -> None:
    """A second build of a locked version is none of the set, and neither is what is called as no wheel is."""
    (folder / "files" / f"xllamacpp-{VERSION}-1-py3-none-any.whl").write_bytes(ENGINE[1] + b" ")
    (folder / "files" / "note.whl").write_bytes(ENGINE[1] + b" ")
    assert [file for what, file in problems(folder) if what == "extra"] == [
        "note.whl",
        f"xllamacpp-{VERSION}-1-py3-none-any.whl",
    ]
    (folder / "files" / "note.whl").unlink()
    with pytest.raises(WheelsNotAsLocked, match=f"the first is xllamacpp {VERSION}"):
        require_as_locked(read_folder(folder))


def test_what_cannot_be_read_hides_nothing_else(folder: Path) -> None:
    (folder / "files" / ENGINE[0]).unlink()
    (folder / "files" / ENGINE[0]).mkdir()
    (folder / "files" / "dir-1-py3-none-any.whl").mkdir()
    found = problems(folder)
    assert ("unread", ENGINE[0]) in found
    assert ("extra", "dir-1-py3-none-any.whl") in found


def test_a_lock_that_is_no_text_is_altered(folder: Path) -> None:
    (folder / "requirements.lock").write_bytes(b"\xff\xfe\x00")
    assert ("altered", "requirements.lock") in problems(folder)


@pytest.mark.parametrize(
    "spoiled",
    [
        {"set": "strange"},
        {"set": 1},
        {"version": "../../../srv"},
        {"target": {"python": "x", "glibc": "y"}},
        {"target": {"python": "3.11", "glibc": "2.36", "machine": None}},
        {"wheels": [{"file": "../../../etc/cron.d/x-1-py3-none-any.whl", "sha256": "0" * 64, "url": ""}]},
        {"wheels": [{"file": 3, "sha256": 4, "url": 5}]},
    ],
)
def test_a_record_that_is_none_is_not_gone_by(folder: Path, spoiled: dict[str, object]) -> None:
    whole = {"set": "llamacpp", "version": VERSION, "target": {"python": "3.11", "glibc": "2.36"}, "wheels": []}
    (folder / RECORD).write_text(json.dumps(whole))
    assert read_folder(folder).target == target("3.11", "2.36")
    (folder / RECORD).write_text(json.dumps({**whole, **spoiled}))
    found = verify(read_folder(folder))
    assert found.folder.chosen == wheel_set(f"llamacpp=={VERSION}")
    assert (found.problems, len(found.unknown)) == ((), 1)


@pytest.mark.parametrize(
    "version", ["../../x", "*", "0.2\nrequests", '1.0; python_version < "3"', "0.2 --pre", "=1", "1.0/x"]
)
def test_a_version_that_is_none_reaches_no_requirement_and_no_path(version: str) -> None:
    with pytest.raises(UsageWrong, match="is no version"):
        wheel_set(f"llamacpp=={version}")


def test_words_are_read_as_they_are_meant() -> None:
    assert wheel_set(f"llamacpp=={VERSION} ").name == f"llamacpp-{VERSION}"
    with pytest.raises(WheelSetUnknown) as told:
        wheel_set("LLAMACPP")
    assert told.value.nearest == "llamacpp"
    assert "0.32.0" not in told.value.remedy  # which is no version of llama.cpp
    with pytest.raises(WheelsTargetWrong):
        target("3.\u0661\u0661", "2.36")


@pytest.mark.parametrize(
    "address", ["http://[", "nonsense", "", "http://", "ftp://127.0.0.1/", "http://127.0.0.1:99999/", "file:///nowhere"]
)
def test_an_index_that_nobody_could_ask_is_refused(address: str) -> None:
    """uv passes over most of them without a word."""
    with pytest.raises(UsageWrong, match="--index") as told:
        index_of((address,))
    assert told.value.remedy == "see `steelyard wheels --help`"


def test_an_index_in_a_folder_is_one(tmp_path: Path) -> None:
    assert tmp_path.as_uri() in index_of((tmp_path.as_uri(),)).environment["UV_INDEX"]


def test_an_index_that_talks_nonsense_tells_nothing_of_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not known before the download is unknown: neither its size nor its licence ends a plan."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    class Nonsense(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"\x00\x01 200 hello\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Nonsense) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = Wheel(ENGINE[0], "0" * 64, f"http://127.0.0.1:{server.server_address[1]}/{ENGINE[0]}")
        index = Index({}, {})
        assert [wheel.size for wheel in with_sizes([asked], index)] == [None]
        assert fetch_all([replace(asked, size=1 << 20)], index) == {ENGINE[0]: None}
        server.shutdown()


def test_kernels_in_a_broken_wheel_are_named(tmp_path: Path) -> None:
    (tmp_path / "flashinfer_jit_cache.whl").write_bytes(b"")  # no wheel's name: passed over
    (tmp_path / "flashinfer_cubin-0.7.0.post1-py3-none-any.whl").write_bytes(b"cut off")
    with pytest.raises(KernelsIncomplete, match="1 of 1 kernels are unreadable, the first: flashinfer_cubin-"):
        read_kernels(tmp_path, "0.7.0.post1", wheel_set("vllm-cu13==0.32.0"))
