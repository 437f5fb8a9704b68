"""The options of an engine that `serve.options` may hold, as values: one set for each version that is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


class EngineOptions(NamedTuple):
    """The options of one engine.

    `newest`: the version that is meant where nobody says one; `owned`: an option that steelyard sets itself, and what
    to write instead; `known`: a version, and the names that it knows; `plain`: gives the one way to spell a name.
    """

    newest: str
    owned: Mapping[str, str]
    known: Mapping[str, frozenset[str]]
    plain: Callable[[str], str]
