"""Pages that an engine will map are there before it starts; never more than fits, never a start that fails for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from steelyard_host.memory import warm

SIZE = 24 << 20


def cold(tmp_path: Path) -> Path:
    """A version on a real disk, out of the page cache."""
    folder = Path(os.environ.get("TMPDIR", "/var/tmp")) / f"steelyard-warm-{tmp_path.name}-{os.getpid()}"
    folder.mkdir()
    for number in (1, 2):
        path = folder / f"model-{number}.safetensors"
        path.write_bytes(os.urandom(SIZE // 2))
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    (folder / "empty").touch()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> object:
    made = cold(tmp_path)
    yield made
    for path in made.iterdir():
        path.unlink()
    made.rmdir()


def test_a_cold_version_is_resident_afterwards_and_a_warm_one_is_left_alone(folder: Path) -> None:
    first = warm.warm(folder, 60)
    assert (first.bytes, first.why_not) == (SIZE, None)
    assert first.resident_before < SIZE // 10
    assert first.resident >= warm.ENOUGH * SIZE
    again = warm.warm(folder, 60)
    assert (again.seconds, again.resident) == (0.0, again.resident_before)


def test_what_does_not_fit_or_takes_too_long_is_left_and_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert warm.warm(folder, 0).why_not == "time was over"
    monkeypatch.setattr(warm, "available", lambda: 1000)
    told = warm.warm(folder, 60)
    assert told.resident == told.resident_before
    assert "1000 may be taken" in told.why_not


def test_room_is_the_least_of_the_host_and_every_limit_above_the_unit(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable: 1000 kB\n")
    unit = tmp_path / "system.slice/x.service"
    unit.mkdir(parents=True)
    for folder, limit, used in ((unit, "max", 5), (unit.parent, str(600 * 1024), 100 * 1024)):
        (folder / "memory.max").write_text(limit + "\n")
        (folder / "memory.current").write_text(f"{used}\n")
    assert warm.available(meminfo, unit) == int(500 * 1024 * warm.SHARE)
    assert warm.available(meminfo, tmp_path / "none") == int(1000 * 1024 * warm.SHARE)
