"""What differs between releases of Dify as far as we talk to it. Source: facts of 1.0.0 to 1.16.1, read tag by tag."""

from __future__ import annotations

import re
from typing import NamedTuple


class Release(NamedTuple):
    """A release as numbers; suffixes (`1.10.1-fix.1`) are left off."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def base64_password(self) -> bool:
        """Before it, the password goes as it is; the wrong form counts as a wrong password."""
        return self >= (1, 11, 2)

    @property
    def cookies(self) -> bool:
        """Before it, tokens came in the body of the answer, there was no CSRF token, and a bearer was enough."""
        return self >= (1, 9, 2)

    @property
    def named_credentials(self) -> bool:
        return self >= (1, 8, 0)


NEWEST_KNOWN = Release(1, 16, 1)


def release_of(text: str | None) -> Release | None:
    """`1.16.1`, `v1.10.1-fix.1`; None where it is no release."""
    found = re.match(r"^v?(\d+)\.(\d+)\.(\d+)", text or "")
    return Release(int(found[1]), int(found[2]), int(found[3])) if found else None
