"""Names of ours among the variables of an inventory that other tools read too.

`gateway`, `docker` or `models` may be another tool's. So each section may be written as `steelyard_NAME`, and all of
them in one variable `steelyard`; then the bare name is left alone: that of the one, or those of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .fleet import Keys, Values
from .variables import NAMESPACE, OURS, ours


def others(variables: Mapping[str, Any]) -> frozenset[str]:
    """Return the bare names that are another tool's, because ours are said in the namespace."""
    if isinstance(variables.get(NAMESPACE), Mapping):
        return ours()
    return frozenset(name for name in ours() if OURS + name in variables)


def under_bare_names(variables: Values) -> Values:
    """Return the variables with ours under their bare names, wherever they are written; another tool's of such a name
    are left out.
    """
    foreign = others(variables)
    if not foreign:
        return dict(variables)
    named = {name: value for name, value in variables.items() if name not in foreign}
    together = variables.get(NAMESPACE)
    if isinstance(together, Mapping):
        named |= {name: value for name, value in together.items() if name in ours()}
    for name in ours():
        if OURS + name in named:
            named[name] = named.pop(OURS + name)
    return named


def bare(keys: Keys) -> Keys:
    """The same keys from the bare name on."""
    first = str(keys[0])
    if first == NAMESPACE and len(keys) > 1 and keys[1] in ours():
        return keys[1:]
    name = first.removeprefix(OURS)
    return (name, *keys[1:]) if first != name and name in ours() else keys


def spellings(keys: Keys) -> tuple[Keys, ...]:
    """The ways in which a file may write what is read under these keys, and how many of its keys come before ours."""
    first = str(keys[0]) if keys else ""
    return (keys, (OURS + first, *keys[1:]), (NAMESPACE, *keys)) if first in ours() else (keys,)
