"""A command on a host tells how far it is: real pip from a real index, held up half way until it has said so."""

from __future__ import annotations

import http.server
import json
import os
import shlex
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steelyard.events import BytesMoved, TaskProgress, progress_event
from steelyard.modules.connectors import frames
from steelyard_host.mirror import wheels
from steelyard_host.supervise import command_progress as host_told

MARK = "steelyard-abc"
BIG = 3_000_000  # bytes of the wheel that is held up


def wheel(folder: Path, name: str, size: int) -> None:
    """A real one, with one file that does not shrink."""
    record = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as made:
        made.writestr(f"{name}.bin", os.urandom(size))
        made.writestr(f"{record}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        made.writestr(f"{record}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{record}/RECORD", "")


class Mirror:
    """Serves a folder; of the wheel `held`, half, and the rest once `go` is set."""

    def __init__(self, folder: Path, held: str) -> None:
        self.go = threading.Event()
        mirror = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *rest: Any) -> None:
                super().__init__(*rest, directory=str(folder))

            def copyfile(self, source: Any, outputfile: Any) -> None:
                whole = source.read()
                half = len(whole) // 2 if self.path.endswith(held) else len(whole)
                outputfile.write(whole[:half])
                outputfile.flush()
                if half < len(whole):
                    mirror.go.wait(60)
                    outputfile.write(whole[half:])

            def log_message(self, *_: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    folder = tmp_path / "wheels"
    (folder / "files").mkdir(parents=True)
    wheel(folder / "files", "small", 1000)
    wheel(folder / "files", "big", BIG)
    wheels.index(folder)
    made = Mirror(folder, "big-1.0-py3-none-any.whl")
    yield made
    made.go.set()
    made.server.shutdown()


def install(tmp_path: Path, mirror: Mirror) -> list[str]:
    environment = tmp_path / "engine"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    lock = environment / ".lock.new"
    lock.write_text((tmp_path / "wheels" / wheels.LOCK).read_text())
    index = f"{mirror.url}/simple/"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        f"{environment}/bin/python",
        "install",
        "-q",
        "--isolated",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-compile",
        "--disable-pip-version-check",
        "--index-url",
        index,
        "--trusted-host",
        "127.0.0.1",
        "--require-hashes",
        "-r",
        str(lock),
    ]
    return [sys.executable, "-m", "steelyard_host", "install-wheels", str(environment), index, str(lock), *pip]


def test_bytes_are_told_while_pip_downloads_through_the_shell_of_the_connector(tmp_path: Path, mirror: Mirror) -> None:
    """The answer of the command is what it would be without: nothing of what was told is in it."""
    heard: list[dict[str, Any]] = []
    total = sum(path.stat().st_size for path in (tmp_path / "wheels/files").iterdir())

    def tell(said: dict[str, Any]) -> None:
        heard.append(said)
        if said["what"] == "downloaded" and 0 < said["done"] < said["total"] == total:
            mirror.go.set()  # only now can it end

    command = shlex.quote("PIP_NO_CACHE_DIR=1 " + shlex.join(install(tmp_path, mirror)))
    script = frames.opening(MARK) + frames.order(command, MARK, None, 120)
    shell = subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(script.encode())
    shell.stdin.close()
    lines = (line.rstrip(b"\n") for line in shell.stdout)
    [answer] = frames.read_answers(lines, MARK, 1, tell=tell)
    shell.wait()
    assert answer == frames.CommandAnswer(0, [], [])
    assert mirror.go.is_set()
    assert heard[-1] == {"what": ""}, "the next command of the task is not at this one's bytes"
    told_bytes = [said["done"] for said in heard if said["what"] == "downloaded"]
    assert told_bytes == sorted(told_bytes)
    assert max(told_bytes) <= total
    assert (tmp_path / "engine" / "lib").is_dir()
    assert len(list((tmp_path / "engine").glob("lib/python*/site-packages/big-1.0.dist-info"))) == 1


def test_nobody_listens_and_nothing_is_told(tmp_path: Path, mirror: Mirror) -> None:
    mirror.go.set()
    environment = {name: value for name, value in os.environ.items() if name != host_told.LISTENS}
    done = subprocess.run(install(tmp_path, mirror), capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_command_that_fails_fails_with_its_own_status_and_words(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("")
    words = [
        sys.executable,
        "-m",
        "steelyard_host",
        "install-wheels",
        str(tmp_path),
        "http://127.0.0.1:9/",
        str(tmp_path / "lock"),
    ]
    done = subprocess.run([*words, "sh", "-c", "echo why >&2; exit 7"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (7, "why\n")


def test_a_controller_that_goes_away_leaves_no_command_half_done(tmp_path: Path) -> None:
    """The command ends only after something was told to nobody."""
    program = (
        "import pathlib, sys\n"
        "from steelyard_host.supervise import command_progress as progress\n"
        "def look():\n"
        "    pathlib.Path(sys.argv[1]).touch()\n"
        "    return {'what': 'x'}\n"
        "sys.exit(progress.beside(['sh', '-c', 'while ! test -e \"$0\"; do sleep 0.1; done; exit 5', "
        "sys.argv[1]], look))\n"
    )
    environment = {**os.environ, host_told.LISTENS: "1"}
    words = [sys.executable, "-c", program, str(tmp_path / "told")]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    assert (running.stderr.read(), running.wait()) == ("", 5)


def test_of_a_lock_with_several_hashes_the_one_that_the_index_has_counts(tmp_path: Path, mirror: Mirror) -> None:
    lock = (tmp_path / "wheels" / wheels.LOCK).read_text()
    spread = lock.replace(" --hash", f" \\\n    --hash=sha256:{'0' * 64} \\\n    --hash")
    total = sum(path.stat().st_size for path in (tmp_path / "wheels/files").iterdir())
    assert host_told.wheels_size(f"{mirror.url}/simple/", spread) == total
    assert len(host_told.LOCKED.findall(spread)) == 2


@pytest.mark.parametrize(
    ("log", "last"),
    [
        ("", None),
        ("INFO 11-22 api_server.py: vLLM API server version 0.32.0\n", "log has begun"),
        ("INFO Starting to load model /m...\n", "imported"),
        (
            "INFO Starting to load model\nINFO Loading weights took 3.2 seconds\nINFO Model loading took 14 GiB\n",
            "weights loaded",
        ),
        (
            "INFO Starting to load model\nINFO Model loading took 1 GiB\nINFO GPU KV cache size: 1,024 tokens\n",
            "memory profiled",
        ),
        ("INFO Model loading took 1 GiB\nINFO Application startup complete.\n", "listening"),
    ],
)
def test_of_a_start_the_last_thing_done_is_told(log: str, last: str | None) -> None:
    assert host_told.reached(log) == last


def test_what_is_told_is_an_event() -> None:
    said = json.loads(host_told.line({"what": "downloaded", "done": 5, "total": 9, "unit": "bytes"})[1:])
    assert progress_event("h", said) == BytesMoved("h", "downloaded", 5, 9)
    assert progress_event("h", {"what": "unpacked", "done": 5, "total": 9, "unit": "wheels"}) == TaskProgress(
        "h", "unpacked", 5, 9, "wheels"
    )
    assert progress_event("h", {"what": "weights loaded"}) == TaskProgress("h", "weights loaded")


def test_what_no_command_of_ours_would_tell_ends_no_run() -> None:
    """It is read from a host while all hosts are at work: an exception would end the run for each of them."""
    odd = {"what": "a\nb\x1b[2J" + "x" * 500, "done": "many", "total": 1e400, "unit": "bytes"}
    event = progress_event("h", odd)
    assert event == BytesMoved("h", event.what, 0, 0)
    assert event.what.isprintable()
    assert len(event.what) <= 120
    assert progress_event("h", {"what": "x", "done": -1, "total": [1], "unit": ["y"]}) == TaskProgress(
        "h", "x", 0, 0, "['y']"
    )


def test_a_line_that_only_begins_like_one_is_output() -> None:
    text = [
        b"\x1enot json",
        b'\x1e{"a": 1}',
        b'\x1e{"what": "x"}',
        f"\n{MARK} 0".encode(),
        b"\n" + MARK.encode() + b".",
        f"{MARK}!".encode(),
    ]
    heard: list[dict[str, Any]] = []
    lines = iter(b"\n".join(text).split(b"\n"))
    [answer] = frames.read_answers(lines, MARK, 1, tell=heard.append)
    assert answer.stdout == ["\x1enot json", '\x1e{"a": 1}']
    assert heard == [{"what": "x"}]
