"""The one shape of what the double keeps and answers: objects of JSON, whose fields are Dify's own."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]
