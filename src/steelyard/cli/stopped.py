"""The words of a command that a signal stopped: what is so now, and how it goes on. Every command has a row.

A row speaks of a command that was left between two steps. What comes to an end in order (an apply, a rollout) says
itself what it did.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from steelyard.errors import Interrupted
    from steelyard.interrupts.signals import Stopped


class LeftAs(NamedTuple):
    """The state after a command was left. `then`: what to do; `{call}` is the very call."""

    state: str
    then: str = "run it again: `{call}`"


AGAIN = "go on: `{call}`"
LOOKS = LeftAs("it only looks, and nothing was changed")
HOSTS = "a host that had begun comes to its end by itself; the others were not touched"
DIFY_GOES_ON = "the Dify host comes to its end by itself: `steelyard dify backups` shows its state"
ROWS = {
    **dict.fromkeys(("plan", "drift", "status", "doctor", "inventory", "completion", "lab status", "lock show"), LOOKS),
    **dict.fromkeys(("logs", "version"), LOOKS),
    **dict.fromkeys((f"models {name}" for name in ("fit", "ls", "verify", "diff")), LOOKS),
    **dict.fromkeys(("wheels plan", "wheels verify"), LOOKS),
    **dict.fromkeys((f"dify {name}" for name in ("ls", "images", "backups")), LOOKS),
    "dify check": LeftAs(
        "what it had made in Dify was removed again; a question to a model that was asked may still be answered"
    ),
    "init": LeftAs("files that were written stay"),
    "preflight": LeftAs("a measurement that had begun on a host ends by itself; programs that were installed stay"),
    "bench load": LeftAs("a measurement that had begun on a host ends by itself, and its figures are not used"),
    "apply": LeftAs("no task was begun on any host", AGAIN),
    "rollout": LeftAs("no host was switched; what hosts have received of the version stays with them", AGAIN),
    "rollback": LeftAs("no host was switched", AGAIN),
    "host remove": LeftAs(
        "what was removed stays removed; hosts that had begun come to their end by themselves", AGAIN
    ),
    "models add": LeftAs("what was downloaded is kept and not downloaded again", AGAIN),
    "models sign": LeftAs("nothing was signed"),
    "models push": LeftAs("hosts keep what they received of it; no version is half published", AGAIN),
    "models export": LeftAs("the folder is not whole: remove it"),
    "models shard": LeftAs("a host that had begun comes to its end by itself; no version is half published", AGAIN),
    **dict.fromkeys((f"models {name}" for name in ("warm", "cache", "keep")), LeftAs(HOSTS, AGAIN)),
    **dict.fromkeys((f"models {name}" for name in ("rm", "gc", "prune")), LeftAs(HOSTS, AGAIN)),
    "wheels collect": LeftAs("wheels that were fetched are kept and not fetched again; no set was declared", AGAIN),
    "wheels push": LeftAs("wheels that the mirror has are not sent again; no set is half there", AGAIN),
    "lock break": LeftAs("the lock may be broken or not: `steelyard lock show`"),
    "mirror images sync": LeftAs("images that a mirror has fetched stay there", AGAIN),
    "dify login": LeftAs("the login was sent or it was not; a right one wipes out the wrong ones before it"),
    "dify install": LeftAs("the account is made or it is not: `steelyard dify ls`", AGAIN),
    "dify register": LeftAs("models that were registered stay registered", AGAIN),
    "dify secrets": LeftAs("the file of secrets is as it was, or whole"),
    "dify seed": LeftAs("what was downloaded is kept", AGAIN),
    "dify backup": LeftAs(DIFY_GOES_ON, "see what it made: `steelyard dify backups`"),
    "dify verify": LeftAs(DIFY_GOES_ON, AGAIN),
    "dify restore": LeftAs(
        "a restore that had begun comes to its end on the Dify host by itself",
        "follow it: `systemctl status steelyard-dify-work` there; `steelyard dify ls` answers when Dify does",
    ),
    "dify upgrade": LeftAs(
        "an upgrade that had begun comes to its end on the Dify host by itself: done, or put back",
        "go on, or see what came of it: `{call}`",
    ),
    "lab up": LeftAs("hosts that were booted stay up", "go on: `{call}`, or take them down: `steelyard lab down`"),
    "lab down": LeftAs("hosts that were taken down are gone", AGAIN),
    "lab ssh": LeftAs("the session on the host is over"),
    "lab exec": LeftAs("the program on the host was told to end"),
    "lab snapshot": LeftAs("the layer is as it was"),
}
OTHER = LeftAs("no command was begun")


def row_of(words: Sequence[str]) -> tuple[str, LeftAs]:
    """The command that these words call, and its row."""
    for size in (3, 2, 1):
        name = " ".join(words[:size])
        if name in ROWS:
            return name, ROWS[name]
    return "", OTHER


def call_of(words: Sequence[str]) -> str:
    """The call that these words were, as one pastes it."""
    return shlex.join(["steelyard", *words])


def interrupted(stopped: Stopped, words: Sequence[str]) -> Interrupted:
    """The error of a command that was left; `words` are its own, without the program's name."""
    from steelyard.errors import Interrupted

    name, row = row_of(words)
    return Interrupted(
        where=f"steelyard {name}".strip(),
        signal=stopped.interruption.title,
        state=stopped.state or row.state,
        then=(stopped.then or row.then).replace("{call}", call_of(words)),
    )
