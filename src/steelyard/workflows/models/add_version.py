"""A version's files to this machine: fetched where they are elsewhere, then hashed, and converted as declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from steelyard.events import BytesMoved, Emit
from steelyard.models.content.manifest import Manifest
from steelyard.models.sources import FetchRequest, fetch, is_local, parse
from steelyard.models.sources.resolve import resolve_version

if TYPE_CHECKING:
    from steelyard.api.settings import HostVariables
    from steelyard.site.schema import Conversion

HERE = "this machine"


class AddedVersion(NamedTuple):
    """A version that is on this machine: its source, pinned, and what it consists of."""

    source: str
    manifest: Manifest


def add_version(
    model: str, source: str, code: bool, conversion: Conversion, variables: HostVariables, emit: Emit
) -> AddedVersion:
    """Fetch and hash a version; `variables` hold the Hub's token and mirrors. Raises as the sources do."""
    pinned = source
    if not is_local(source):
        mirrors = (None, *(str(mirror) for mirror in variables.get("hf_mirrors") or ()))
        token = str(variables.get("hf_token")) if variables.get("hf_token") else None
        asked = FetchRequest(model, code, conversion.convert, token, mirrors, _bytes(source, emit))
        pinned = fetch(parse(source, "--source"), asked).source
    on_progress = _bytes(f"{model} hashed", emit)
    local = resolve_version(model, pinned, "--source", code, conversion, make=True, on_progress=on_progress)
    return AddedVersion(pinned, local.manifest)


def _bytes(what: str, emit: Emit) -> Callable[[int, int], None]:
    """A function of (done, total) bytes that tells how far `what` is on this machine."""
    return lambda done, total: emit(BytesMoved(HERE, what, done, total))
