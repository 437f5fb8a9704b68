"""The wheel index of a mirror host, made by the helper from the files that are there."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Reason, Refusal
from steelyard.artifacts.helper import RUN_HELPER
from steelyard.modules.facts.helper import helper_fact
from steelyard_host.wire.store import WheelsState


@operation()
def indexed(folder: str) -> Generator[StringCommand, None, None]:
    """Every wheel in `folder`/files is in the index with its hash, and in requirements.lock; no other is."""
    state = helper_fact(host, WheelsState, "wheels-state", folder)
    if state is not None and state.wheels == 0:
        yield Refusal(
            f"no wheels in {folder}/files; `steelyard wheels collect --into wheels` gets them here, "
            f"`steelyard wheels push wheels` brings them there"
        )
        return
    if state is not None and state.indexed:
        return
    what: Reason = {
        "subject": folder,
        "declared": "every wheel indexed",
        "live": "an older index" if state else "not looked at yet",
    }
    yield Change(RUN_HELPER, "wheels-index", QuoteString(folder), ">/dev/null", **what)
