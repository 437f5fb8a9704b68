"""What hosts say cannot move a cursor, turn text around or break a line; wide characters take two columns."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors.visible import harmless, one_line
from steelyard.render.width import MarkedLine, columns, cut, in_colour, listed, wrapped

TEXTS = st.text(st.characters() | st.sampled_from("\x1b\n\t\r\u202e\u2028日本e\u0301` "), max_size=300)
OBEYED = {"Cc", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("/srv/\x1b[2J\x1b[Hrm", r"/srv/\x1b[2J\x1b[Hrm"),
        ("exe.\u202efdp", r"exe.\u202efdp"),
        ("a\rb", r"a\rb"),
        ("a\nb", r"a\nb"),
        ("a\tb", r"a\tb"),
        ("\udce9t\x9b31m", r"\udce9t\x9b31m"),
        ("日本語 ümläut 👍", "日本語 ümläut 👍"),
    ],
)
def test_what_a_terminal_would_obey_is_written_as_its_escape(given_text: str, shown: str) -> None:
    assert one_line(given_text) == shown


@given(TEXTS)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not {unicodedata.category(letter) for letter in one_line(text)} & OBEYED
    assert not {unicodedata.category(letter) for letter in harmless(text) if letter not in "\n\t"} & OBEYED
    one_line(text).encode()


@given(TEXTS, st.integers(20, 120))
def test_no_line_is_wider_than_it_may_be(text: str, width: int) -> None:
    assert columns(cut(one_line(text), width)) <= width
    assert all(columns(line) <= width for line in wrapped(harmless(text).replace("\t", " "), width, "    ", "  x: "))
    assert columns(listed([one_line(text), "b"], width)) <= width


@given(TEXTS, st.integers(20, 120))
def test_wrapping_leaves_no_letter_out(text: str, width: int) -> None:
    kept = "".join("".join(wrapped(harmless(text), width, "    ")).split())
    assert kept == "".join(harmless(text).split())


def test_wide_characters_take_two_columns() -> None:
    assert columns("日本") == 4
    assert cut("日本" * 10, 13) == "日本日本日..."
    assert wrapped("日本" * 6, 10, "  ") == ["日本日本", "  日本日本", "  日本日本"]


def test_a_command_stays_on_one_line_where_it_fits() -> None:
    command = "`steelyard wheels push vllm-cu13 -i inventories/site`"
    assert wrapped(f"bring the declared wheels of this engine with {command}; or not", 70, "    ") == [
        "bring the declared wheels of this engine with",
        f"    {command}; or not",
    ]


def test_names_that_do_not_fit_are_counted() -> None:
    assert listed(["one", "two", "three"], 40) == "one, two, three"
    assert listed(["one", "two", "three"], 14) == "one, 2 more"


def test_a_mark_has_a_colour_once() -> None:
    assert in_colour(MarkedLine("  restart: a restart", "restart")) == "  \x1b[1;33mrestart\x1b[0m: a restart"
    assert in_colour(MarkedLine("  restart: plain")) == "  restart: plain"
