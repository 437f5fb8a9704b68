"""Facts are remembered until their host runs a command; what other hosts did since is not seen that way."""

from __future__ import annotations

from typing import Any


def look_again(host: Any) -> None:
    """The next facts of this host are read anew; a connector that remembers none has nothing to drop."""
    forget = getattr(host.connector, "forget", None)
    if forget is not None:
        forget()
