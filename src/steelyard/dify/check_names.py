"""Names of what `steelyard dify check` makes in Dify for a moment, by which anybody knows it for a check's own.

A name holds the moment at which it was made, by Dify's own clock: machines that check may differ in theirs. So what a
killed check left behind is told from what another one is using: nothing of a living check is older than LIFETIME_S.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

PREFIX = "steelyard check"
LIFETIME_S = 1800.0
# Dify takes 40 letters for a name, and 400 for a description
NAME = re.compile(rf"^{PREFIX} (\d{{8}}T\d{{6}}Z)-[0-9a-f]{{6}}$")
STAMP = "%Y%m%dT%H%M%SZ"
DESCRIPTION = "Made by `steelyard dify check` for one question, and removed after it."
KEY = re.compile(rf"^{re.escape(DESCRIPTION)} Its API key: ([0-9a-f-]{{36}})$")


def new_nonce() -> str:
    """Six letters that no answer kept somewhere can know."""
    return secrets.token_hex(3)


def name_at(moment: float, nonce: str) -> str:
    """The name of something made at this moment, in seconds of the epoch: a name is there once in a workspace."""
    return f"{PREFIX} {datetime.fromtimestamp(moment, UTC).strftime(STAMP)}-{nonce}"


def made_at(name: str) -> float | None:
    """The moment at which a check made what has this name; None for the name of anything else."""
    match = NAME.match(name)
    try:
        return datetime.strptime(match[1], STAMP).replace(tzinfo=UTC).timestamp() if match else None
    except ValueError:  # digits that are no moment
        return None


def is_of_a_check(name: str) -> bool:
    """Whether an app or a knowledge base of this name is a check's, so that it is no user of any model."""
    return made_at(name) is not None


def description_with(key_id: str) -> str:
    """The description of a knowledge base: keys have no name, so it says which key was made for it."""
    return f"{DESCRIPTION} Its API key: {key_id}"


def key_in(description: str) -> str | None:
    """The id of the API key that was made for the knowledge base of this description; None where it tells none."""
    match = KEY.match(description)
    return match[1] if match else None


def is_left_over(name: str, description: str, moment: float) -> bool:
    """Whether a check made it, by name and by description, so long before this moment that it cannot be at work."""
    made = made_at(name)
    return made is not None and description.startswith(DESCRIPTION) and moment - made > LIFETIME_S
