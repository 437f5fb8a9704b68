"""The wheel index of a mirror host, made by the helper from the files that are there."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.change import Change
from steelyard.host_helper import RUN_HELPER
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.refusal import Refusal


@operation()
def indexed(folder: str) -> Generator[StringCommand, None, None]:
    """Every wheel in `folder`/files is in the index with its hash, and in requirements.lock; no other is."""
    now = host.get_fact(HelperAnswer, words=("wheels-state", folder))
    if now is not None and now["wheels"] == 0:
        yield Refusal(f"no wheels in {folder}/files; collect them and copy them there")
        return
    if now is not None and now["indexed"]:
        return
    what = {"subject": folder, "declared": "every wheel indexed", "live": "an older index" if now else "not looked at yet"}
    yield Change(RUN_HELPER, "wheels-index", QuoteString(folder), ">/dev/null", **what)
