"""The bounds of what a host may tell while a version is pushed. Pure.

A host that somebody took over, or whose helper is broken, may tell anything: it is out then, and costs the others
nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from steelyard.models.content.manifest import Manifest
from steelyard_host.wire.relay import BytesHeld, Corrupt, Missing, Published, Ready, are_ranges

if TYPE_CHECKING:
    from steelyard_host.wire.relay import RelayEvent

PORTS = 65536
CORRUPT = 3  # times that a chunk may arrive as another, over all chunks


class Claims:
    """Holds each event of a host against the version's sizes, and against what the host told before."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._chunks = sum(len(file.chunks) for file in manifest.files.values())
        self._corrupt: Counter[str] = Counter()

    def refusal(self, host: str, event: RelayEvent) -> str | None:
        """The part of the event that cannot be, in words; None where nothing is wrong."""
        size, chunks = self._manifest.size, self._chunks
        if isinstance(event, Ready) and not 0 < event.ready < PORTS:
            return f"port {event.ready}"
        if isinstance(event, (Ready, Missing)) and not are_ranges(event.missing, chunks):
            return f"it lacks chunks outside of 0 to {chunks - 1}, or some twice"
        if isinstance(event, (Ready, BytesHeld)) and not 0 <= event.bytes <= size:
            return f"it has {event.bytes} bytes of {size}"
        if isinstance(event, Published) and event.published != self._manifest.id:
            return f"it published {event.published[:80]}, which nobody pushes"
        if isinstance(event, Corrupt):
            self._corrupt[host] += 1
            if event.corrupt.file not in self._manifest.files or not 0 <= event.corrupt.chunk < chunks:
                return f"a chunk of {event.corrupt.file[:80]} that is none of this version"
            if self._corrupt[host] > CORRUPT * (chunks + 1):
                return "more corrupt chunks than there are"
        return None
