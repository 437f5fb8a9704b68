"""A package imports what it offers when it is first asked for.

A role's settings are looked at by every command, its tasks by a deploy that has the role: a package that imported both
would make each look pay for the tasks of all roles.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module


def exports_of(package: str, *modules: str) -> Callable[[str], object]:
    """The `__getattr__` of a package (PEP 562), whose `__all__` names what is found in these modules of it."""

    def named(name: str) -> object:
        if name in sys.modules[package].__all__:
            for module in modules:
                loaded = import_module(f"{package}.{module}")
                if hasattr(loaded, name):
                    return getattr(loaded, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return named
