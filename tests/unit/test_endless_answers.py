"""A host that never stops talking costs itself its run, and this machine no memory."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from paramiko.channel import Channel

from steelyard.modules.connectors import frames, shell
from steelyard.modules.connectors.helper_stream import HelperStream

MARK, MIB = "steelyard-abc", 1 << 20
WORDS = "it said more than 256 MiB in one answer"


class Endless:
    """A channel whose host says the same again and again, however much is taken."""

    def __init__(self, piece: bytes) -> None:
        self.piece = piece

    def recv(self, most: int) -> bytes:
        return self.piece[:most]

    recv_stderr = recv


def _peak_mib() -> int:
    found = re.search(r"^VmHWM:\s*(\d+)", Path("/proc/self/status").read_text(), re.M)
    assert found is not None
    return int(found[1]) >> 10


@pytest.fixture
def forgotten_peak() -> Iterator[int]:
    """The most memory that this process has had, as of now."""
    Path("/proc/self/clear_refs").write_text("5")
    yield _peak_mib()


def _lines(piece: bytes) -> Iterator[bytes]:
    return shell.lines_of(cast(Channel, Endless(piece)), lambda: float("inf"))


@pytest.mark.parametrize("piece", [b"x" * MIB, b"x" * 70 + b"\n", b"\n"], ids=["one line", "lines", "empty lines"])
def test_an_answer_of_a_question_has_an_end(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MOST", 4 * MIB)
    with pytest.raises(OSError, match="it said more than 4 MiB in one answer"):
        frames.read_frame(_lines(piece * (MIB // len(piece))), MARK)


def test_of_what_a_command_says_the_end_is_kept_and_nothing_else(forgotten_peak: int) -> None:
    said = itertools.chain(itertools.repeat(b"x" * 999, 300_000), [f"{MARK} 0".encode(), f"{MARK}.".encode()])
    answer = frames.read_frame(said, MARK, frames.KEPT_OF_AN_ORDER)
    assert isinstance(answer, frames.CommandAnswer)
    assert len(answer.stdout) == frames.KEPT_OF_AN_ORDER // 1000
    assert _peak_mib() < forgotten_peak + 20


def test_what_stands_before_a_greeting_is_not_kept(forgotten_peak: int) -> None:
    said = iter([b"login file\n"] * 100_000 + [b"hello^\n", b'{"alive": 1}\n', b""])
    channel = Endless(b"")
    rest = bytearray()

    def recv(most: int) -> bytes:
        if not rest:
            rest.extend(next(said))
        taken = bytes(rest[:most])
        del rest[:most]
        return taken

    channel.recv = recv  # type: ignore[method-assign]
    stream = HelperStream(cast(Channel, channel), b"hello^\n")
    assert stream.bytes(5) == b'{"ali'
    assert _peak_mib() < forgotten_peak + 5


def test_the_sentence_says_how_much_is_too_much() -> None:
    assert str(frames.too_much()) == WORDS
