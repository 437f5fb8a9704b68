"""Text that somebody else wrote, made harmless: whatever would be obeyed where it is shown is written as its escape.

What hosts say is text of theirs: a file name may hold an escape sequence, a line feed, or marks that turn the order of
letters around; and what a job of CI prints is read by its runner, which takes some lines for commands of its own.
"""

from __future__ import annotations

import re

# control characters, what turns the direction of text, what is invisible, and halves of pairs, which cannot be encoded;
# joiners stay: letters of some scripts need them
UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
# patterns are compiled when they are first needed: most commands never see what they are for
_HARMFUL, _MANY_LINES = f"[{UNSEEN}]", f"[\t\n{UNSEEN}]"
# `::error::` at the beginning of a line, blanks before it or not, is GitHub's; `##[error]` anywhere is GitHub's of
# before and Azure's, `##vso[` Azure's, `##teamcity[` TeamCity's
_ANYWHERE = r"#(?=#(?:vso|teamcity)?\[)"
_COMMANDS = rf"(?m)(?<=^)(?P<blanks>[^\S\n]*):(?=:[^\n]*::)|{_ANYWHERE}"


def harmless(text: str) -> str:
    """The text with every character that a terminal would obey or hide written as its escape, and no command of a
    runner; lines and tabs stay.
    """
    if not text.isprintable():
        text = re.sub(_HARMFUL, _escaped, text.replace("\r\n", "\n"))
    return no_commands(text)


def one_line(text: str) -> str:
    """The same on one line: a line feed and a tab are written as escapes too."""
    return no_commands(text if text.isprintable() else re.sub(_MANY_LINES, _escaped, text))


def joined_line(text: str) -> str:
    """The same with its lines, and whatever is blank, joined by a space."""
    return one_line(" ".join(text.split()))


def no_commands(text: str) -> str:
    r"""The text with nothing that a runner of CI obeys: the first letter of each such mark is written as its escape.

    >>> no_commands("  ::error::x")
    '  \\x3a:error::x'
    """
    return re.sub(_COMMANDS, _unmarked, text) if "::" in text or "##" in text else text


def no_commands_in_json(document: str) -> str:
    """A JSON document that says the same, with nothing in its strings that a runner obeys wherever it stands."""
    return re.sub(_ANYWHERE, r"\\u0023", document) if "##" in document else document


def _unmarked(found: re.Match[str]) -> str:
    return "\\x23" if found[0] == "#" else f"{found['blanks']}\\x3a"


def _escaped(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape").decode()
