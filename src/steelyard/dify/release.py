"""Differences between releases of Dify as far as we talk to it. Source: facts of 1.0.0 to 1.16.1, read tag by tag."""

from __future__ import annotations

import re
from typing import NamedTuple


class DifyVersion(NamedTuple):
    """A release as numbers; suffixes (`1.10.1-fix.1`) are left off."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def base64_password(self) -> bool:
        """True where the password is sent as base64.

        Before, it goes as it is; the wrong form counts as a wrong password.
        """
        return self >= (1, 11, 2)

    @property
    def cookies(self) -> bool:
        """True where tokens come as cookies.

        Before, they came in the body of the answer, there was no CSRF token, and a bearer was enough.
        """
        return self >= (1, 9, 2)

    @property
    def named_credentials(self) -> bool:
        """True where a model can have several credentials, each with a name."""
        return self >= (1, 8, 0)

    @property
    def preserves_credentials(self) -> bool:
        """True where an uninstall of a plugin keeps its credentials when asked to; before, the word is ignored."""
        return self >= (1, 17, 0)


NEWEST_KNOWN = DifyVersion(1, 19, 0)
# the newest release of each kind of proof, and what that is: the table of docs/roles/dify.md, in order
VERIFIED = (
    (DifyVersion(1, 11, 99), "the API of 1.9.1 was run from source; releases before 1.12 are not installed"),
    (DifyVersion(1, 14, 99), "its files were read, nothing of it was run"),
    (DifyVersion(1, 16, 1), "the API and migrations of 1.16.1 were run from source, no image was"),
    (NEWEST_KNOWN, "its release notes were read, nothing of it was run"),
)


def verification(release: DifyVersion | None) -> str:
    """The way in which a release was verified, as the end of a sentence about it."""
    for newest, proof in VERIFIED:
        if release is not None and release <= newest:
            return proof
    return f"it is newer than {NEWEST_KNOWN}, the newest that is known here: nothing of it was verified"


def release_of(text: str | None) -> DifyVersion | None:
    """`1.16.1`, `v1.10.1-fix.1`; None where it is no release."""
    numbers = re.match(r"^v?(\d+)\.(\d+)\.(\d+)", text or "")
    return DifyVersion(int(numbers[1]), int(numbers[2]), int(numbers[3])) if numbers else None
