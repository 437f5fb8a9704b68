"""The three shells: how each asks, and how it is answered. The first line of an answer is `names` or `files`; names
follow, one a line.

bash hands over its line as text and replaces only what follows its last word break (`:`, `=`), so it is answered with
that part, escaped, because it inserts an answer as it is. zsh and fish split and unquote the line themselves, and quote
what they insert. A name with a control character is offered to nobody.
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from .words import Offer

SAFE = re.compile(r"[\w@%+=:,./-]+")
BREAKS = ":="  # of bash's COMP_WORDBREAKS those that our words hold

BASH = """\
_steelyard() {{
    local line kind
    COMPREPLY=()
    {{
        IFS= read -r kind
        if [[ $kind == files ]]; then
            compopt -o default
            return
        fi
        while IFS= read -r line; do COMPREPLY+=("$line"); done
    }} < <({program} __complete bash "${{COMP_LINE:0:COMP_POINT}}" 2> /dev/null)
}}
complete -F _steelyard steelyard
"""
ZSH = """\
#compdef steelyard
_steelyard() {{
    local line
    local -a answer values shown
    answer=("${{(@f)$({program} __complete zsh "${{(@Q)words[1,CURRENT-1]}}" "${{(Q)PREFIX}}" 2> /dev/null)}}")
    if [[ $answer[1] == files ]]; then
        _files
        return
    fi
    for line in "${{(@)answer[2,-1]}}"; do
        values+=("${{line%%$'\\t'*}}")
        shown+=("${{line/$'\\t'/  -- }}")
    done
    (( $#values )) && compadd -l -d shown -a values
}}
if [[ $funcstack[1] == _steelyard ]]; then
    _steelyard "$@"  # loaded by compinit from a folder of fpath
else
    compdef _steelyard steelyard
fi
"""
FISH = """\
function __steelyard_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct | string trim --left --chars '\\'"')
    set -l answer ({program} __complete fish $words "$current" 2> /dev/null)
    if test "$answer[1]" = files
        __fish_complete_path "$current"
    else if test (count $answer) -gt 1
        printf '%s\\n' $answer[2..-1]
    end
end
complete -c steelyard -f -a '(__steelyard_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def script(shell: str, program: str) -> str:
    """The script that the shell reads once; `program` is the path that it calls at each TAB."""
    return SCRIPTS[shell].format(program=shlex.quote(program))


class Typed(NamedTuple):
    """A line of bash, up to the cursor. `quote` is the one that is still open; `kept` is what bash leaves of the
    current word.
    """

    argv: list[str]
    current: str
    quote: str
    kept: str


def read_bash(line: str) -> Typed:
    """Words as bash would pass them on, without expanding anything."""
    argv: list[str] = []
    word, quote, is_open, broken = "", "", False, 0
    at = 0
    while at < len(line):
        sign = line[at]
        if quote:
            if sign == quote:
                quote = ""
            elif sign == "\\" and quote == '"' and line[at + 1 : at + 2] in ('"', "\\", "$", "`"):
                at += 1
                word += line[at]
            else:
                word += sign
        elif sign in "'\"":
            quote, is_open = sign, True
        elif sign == "\\":
            at += 1
            word, is_open = word + line[at : at + 1], True
        elif sign.isspace():
            if is_open:
                argv.append(word)
            word, is_open, broken = "", False, 0
        else:
            word, is_open = word + sign, True
            if sign in BREAKS:
                broken = len(word)
        at += 1
    return Typed(argv, word, quote, "" if quote else word[:broken])


def answer_bash(offered: Offer, typed: Typed) -> str:
    """The answer for bash: of each name what follows `kept`, escaped as the open quote wants it."""
    lines = []
    for value in _printable(offered):
        rest = value[len(typed.kept) :]
        if SAFE.fullmatch(rest):
            lines.append(rest)
        elif not typed.quote:
            lines.append(re.sub(r"([^\w@%+=:,./-])", r"\\\1", rest))
        elif typed.quote not in rest and not set(rest) & set("\\$`!"):
            lines.append(rest)
    return "\n".join(["files" if offered.files else "names", *lines])


def answer_described(offered: Offer) -> str:
    """The answer for zsh and fish: a tab parts the name from what it is."""
    values = [f"{value}\t{offered.values[value]}" if offered.values[value] else value for value in _printable(offered)]
    return "\n".join(["files" if offered.files else "names", *values])


def _printable(offered: Offer) -> list[str]:
    return [value for value in offered.values if value and value.isprintable()]
