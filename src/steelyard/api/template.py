"""Templates to text. Values only: no defaults and no logic beyond a loop live in them."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


def render(template: Path, **values: Any) -> str:
    """The template with its values; an undefined one is a bug and raises."""
    return compiled(template.read_text()).render(values)


@lru_cache(maxsize=256)
def compiled(text: str) -> Template:
    """The compiled template; it is compiled once per process, not once per host."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)


def config_id(*parts: str) -> str:
    """Short hash of a configuration; running processes carry it, so an older one is seen."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
