"""The one shape of what the double keeps and answers: objects of JSON, whose fields are Dify's own."""

from __future__ import annotations

import uuid
from typing import Any

JsonObject = dict[str, Any]
State = JsonObject  # all that the double keeps


def new_id() -> str:
    """Return an id of its own."""
    return str(uuid.uuid4())
