"""The rehearsal of a look: the engine runs the deploy without the host, and the connector learns what it will ask.

Nothing that a rehearsal says is believed: only what it asked goes to the host, and the look that follows takes its own
answers. Plain pyinfra has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyinfra.api.command import StringCommand
    from pyinfra.api.host import Host
    from pyinfra.connectors.util import CommandOutput

# what is known of a fact's command with these arguments; None where the host was not asked yet
Known = Callable[["StringCommand", Mapping[str, Any]], "CommandOutput | None"]


MOST_TAUGHT = 8  # rehearsals that others learn from, of hosts in the same groups: each may ask what concerns it alone
IN_QUOTES = str.maketrans("", "", "'\"\\ \n")  # what quoting adds to a text


class Rehearsals:
    """A run's way to rehearse: `run` takes a host, and what answers its facts. None where nothing can be rehearsed.

    Hosts of the same groups ask nearly the same: what one learned to ask, the next asks without a rehearsal of its own.
    A question with one of `secrets` in it stays with its host.
    """

    run: Callable[[Host, Known], None] | None = None
    secrets: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self._learned: dict[frozenset[str], dict[str, None]] = {}
        self._taught: Counter[frozenset[str]] = Counter()

    def learned(self, host: Host) -> dict[str, None]:
        """Return what hosts like this one learned to ask, in its order."""
        return self._learned.setdefault(frozenset(host.groups), {})

    def learn(self, host: Host, asked: Iterable[str]) -> None:
        """Take up what a rehearsal for this host asked."""
        kind = frozenset(host.groups)
        if self._taught[kind] < MOST_TAUGHT:
            self._taught[kind] += 1
            self.learned(host).update(dict.fromkeys(text for text in asked if not self._is_secret(text)))

    def _is_secret(self, text: str) -> bool:
        bare = text.translate(IN_QUOTES)
        return any(secret.translate(IN_QUOTES) in bare for secret in self.secrets)
