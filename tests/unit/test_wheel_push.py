"""What a mirror does with a set that is sent to it: the real program in a process of its own, over pipes."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from wheel_index import wheel

from steelyard.api.host_error import HostError
from steelyard.artifacts.wheel_push import push, receiver
from steelyard_host.mirror.wheels import LOCK
from steelyard_host.wire.relay import FRAME, ORDER

WHEELS = dict([wheel("one", "1.0", padding=300_000), wheel("two", "2.0", padding=1000)])
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in WHEELS.items()}
ONE, TWO = WHEELS


class Talk:
    def __init__(self, folder: Path) -> None:
        command = receiver(str(folder)).get_raw_value()
        self.process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def order(self, **what: Any) -> None:
        body = json.dumps(what).encode()
        self._write(FRAME.pack(ORDER, len(body)) + body)

    def chunk(self, data: bytes) -> None:
        self._write(FRAME.pack(0, len(data)) + data)

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told


@contextmanager
def talk(folder: Path) -> Iterator[Talk]:
    opened = Talk(folder)
    try:
        yield opened
    finally:
        opened.process.communicate()


def send(opened: Talk, name: str, content: bytes, upto: int | None = None) -> int:
    """Bytes that were left to send; up to a place only, where the line is to break."""
    opened.order(file=name, size=len(WHEELS[name]), sha256=HASHES[name])
    begin = int(opened.answer()["begin"])
    opened.chunk(content[begin:upto])
    return len(content) - begin


def test_a_set_takes_its_place_when_all_of_it_is_whole(tmp_path: Path) -> None:
    files = tmp_path / "w/files"
    files.mkdir(parents=True)
    (files / "old-1.0-py3-none-any.whl").write_bytes(b"old")
    (files / ONE).write_bytes(WHEELS[ONE])
    with talk(tmp_path / "w") as opened:
        opened.order(wanted=HASHES)
        assert opened.answer() == {"have": {ONE: -1, TWO: 0}}
        send(opened, TWO, WHEELS[TWO])
        assert opened.answer() == {"file": TWO, "whole": True}
        assert sorted(path.name for path in files.iterdir()) == ["old-1.0-py3-none-any.whl", ONE]
        opened.order(finish=list(WHEELS))
        lock = opened.answer()["lock"]
    assert opened.process.returncode == 0
    assert sorted(path.name for path in files.iterdir()) == [ONE, TWO]
    assert {path.name: path.read_bytes() for path in files.iterdir()} == WHEELS
    assert lock == hashlib.sha256((tmp_path / "w" / LOCK).read_bytes()).hexdigest()
    assert not (tmp_path / "w/.incoming").exists()
    assert {path.stat().st_mode & 0o777 for path in files.iterdir()} == {0o644}


def test_a_line_that_broke_costs_only_the_rest(tmp_path: Path) -> None:
    with talk(tmp_path / "w") as opened:
        opened.order(wanted=HASHES)
        opened.answer()
        send(opened, ONE, WHEELS[ONE], upto=200_000)
    assert opened.process.returncode == 1
    assert not list((tmp_path / "w/files").iterdir())
    with talk(tmp_path / "w") as opened:
        opened.order(wanted=HASHES)
        assert opened.answer()["have"][ONE] == 200_000
        assert send(opened, ONE, WHEELS[ONE]) == len(WHEELS[ONE]) - 200_000
        assert opened.answer() == {"file": ONE, "whole": True}
    with talk(tmp_path / "w") as opened:
        opened.order(wanted=HASHES)
        assert opened.answer()["have"] == {ONE: -1, TWO: 0}


def test_what_arrives_as_something_else_is_not_kept(tmp_path: Path) -> None:
    with talk(tmp_path / "w") as opened:
        opened.order(wanted=HASHES)
        opened.answer()
        send(opened, TWO, b"x" * len(WHEELS[TWO]))
        assert opened.answer() == {"file": TWO, "altered": True}
    assert not list((tmp_path / "w/.incoming").iterdir())


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    for name in ("../out.whl", "/tmp/out.whl", ".hidden.whl", "file.txt"):
        with talk(tmp_path / "w") as opened:
            opened.order(wanted={name: "a" * 64})
            assert opened.answer() == {"error": f"Invalid argument: {name}"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]


def test_a_receiver_that_ends_while_we_write_is_told_by_its_last_words(tmp_path: Path) -> None:
    class Ended:
        def send_command(self, command: NamedTuple) -> None:
            raise OSError("Socket is closed")

        def events(self, read: Callable[[object], object]) -> Iterator[object]:
            yield read({"error": "No space left on device"})

        def close(self) -> None:
            pass

    host: Any = SimpleNamespace(name="mirror-1", connector=SimpleNamespace(open_stream=lambda command: Ended()))
    folder: Any = SimpleNamespace(files=tmp_path, wheels=(), locked=list, title="vllm")
    with pytest.raises(HostError, match="No space left on device"):
        push(host, folder, "/srv/wheels", lambda event: None)
