"""Files that came in a form: as the server read them, or as a recording names them."""

from __future__ import annotations

import re
from typing import Any

from .json_object import JsonObject

RECORDED = re.compile(r"<(\d+) bytes: (.+)>")  # a recording has no content
KINDS = {"wav": "audio/wav", "mp3": "audio/mp3", "txt": "text/plain"}


def sent_file(value: Any) -> JsonObject | None:
    """Return name, kind and content of a file in a form; None where the field holds none."""
    if isinstance(value, dict):
        return value
    recorded = RECORDED.fullmatch(value) if isinstance(value, str) else None
    if recorded is None:
        return None
    kind = KINDS.get(recorded[2].rsplit(".", 1)[-1], "application/octet-stream")
    return {"name": recorded[2], "kind": kind, "content": bytes(int(recorded[1]))}
