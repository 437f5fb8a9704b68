"""Commands that a sentence names are runnable as they stand: they get the inventory, limit, deploy and vault of this
call.

`steelyard apply --resume` after `steelyard apply -i prod --deploy serve` would resume another run. So what the user
gave, and a named command takes, is put into it, where the sentence does not say otherwise. Pure but for `begin`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence

SPELLED = {"i": ("-i", "--inventory"), "l": ("-l", "--limit"), "d": ("--deploy",), "v": ("--vault-password-file",)}
# which of them each command takes; held against the parser's own tree by a test
TAKES = {
    **dict.fromkeys(("plan", "apply", "drift"), "ildv"),
    **dict.fromkeys(("doctor", "preflight", "status", "version", "bench load", "wheels push"), "ilv"),
    **dict.fromkeys(
        (
            f"models {name}"
            for name in ["fit", "push", "ls", "verify", "warm", "cache", "shard", "diff", "export", "keep", "rm", "gc"]
        ),
        "ilv",
    ),
    **dict.fromkeys((f"models {name}" for name in ["add", "sign", "prune"]), "iv"),
    **dict.fromkeys(
        (
            "wheels plan",
            "wheels collect",
            "inventory",
            "logs",
            "rollout",
            "rollback",
            "host remove",
            "lock show",
            "lock break",
            "mirror images sync",
        ),
        "iv",
    ),
    **dict.fromkeys(
        (
            f"dify {name}"
            for name in [
                "ls",
                "login",
                "install",
                "register",
                "check",
                "images",
                "secrets",
                "backup",
                "backups",
                "verify",
                "restore",
                "upgrade",
            ]
        ),
        "iv",
    ),
}
SWITCHES = re.compile(r"^-[vqy]+(?=[il])")  # `-vi DIR`: what takes no value may stand before what does
NAMED = re.compile(r"`steelyard ([^`]+)`")

Given = tuple[tuple[str, str], ...]
_given: Given = ()


def begin(argv: Sequence[str]) -> None:
    """Note the options of this process's call, once, at its start."""
    global _given
    _given = given_in(argv)


def given_in(argv: Sequence[str]) -> Given:
    """The options that a call gives, with their values; the last where one is given twice, but all inventories."""
    given: dict[str, str] = {}

    def note(kind: str, value: str) -> None:
        given[kind] = f"{given[kind]},{value}" if kind == "i" and kind in given else value

    left = list(argv[: argv.index("--")] if "--" in argv else argv)
    if left[:2] == ["lab", "exec"]:
        return ()  # its words are another program's
    while left:
        word = SWITCHES.sub("-", left.pop(0))
        for kind, spellings in SPELLED.items():
            name, _, value = word.partition("=")
            if word in spellings and left:
                note(kind, left.pop(0))
            elif name in spellings and name.startswith("--") and value:
                note(kind, value)
            elif not word.startswith("--") and word[:2] in spellings and len(word) > 2:
                note(kind, word[2:].removeprefix("="))
    return tuple(given.items())


def carried(text: str, given: Given | None = None, written: Callable[[str], str] = str) -> str:
    """The text, each command in it with what was given; `written`: as the document writes it that the text is, so it
    stays one.
    """
    mine = tuple((kind, written(shlex.quote(value))) for kind, value in (_given if given is None else given))
    return NAMED.sub(lambda named: f"`steelyard {_completed(named[1], mine)}`", text) if mine else text


def _gives(word: str, spellings: Sequence[str]) -> bool:
    return word.split("=")[0] in spellings or (word[:2] in spellings and not word.startswith("--"))


def _completed(call: str, given: Given) -> str:
    argv = call.split(" ")
    command = next((name for size in (3, 2, 1) if (name := " ".join(argv[:size])) in TAKES), None)
    if command is None:
        return call
    size = command.count(" ") + 1
    if command == "apply" and any(not word.startswith("-") for word in argv[size : size + 1]):
        return call  # a saved plan knows its own
    added = [
        f"{SPELLED[kind][0]} {quoted}"
        for kind, quoted in given
        if kind in TAKES[command] and not any(_gives(word, SPELLED[kind]) for word in argv)
    ]
    return " ".join([*argv[:size], *added, *argv[size:]])
