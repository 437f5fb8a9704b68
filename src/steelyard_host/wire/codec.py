"""The codec of the wire: a declared value becomes a JSON object and is read again.

A declaration is a `NamedTuple`: its fields are the keys, its annotations the types. The other side may be older or
newer: keys that are not declared are ignored, a missing key takes the declared default, and whatever else differs is
refused with the key's name. A NamedTuple and a reader of its annotations cost the helper less at each call than
dataclasses and `typing.get_type_hints` do, and Python 3.9 cannot evaluate `str | None`.
"""

from __future__ import annotations

import sys
from enum import Enum
from typing import Any, TypeVar

Value = TypeVar("Value")
MISSING = object()
PLAIN: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}


class WireError(ValueError):
    """An answer, a request or a record that is not what is declared. `key`: where, `a.b[0]`; empty for the whole."""

    def __init__(self, key: str, why: str) -> None:
        self.key, self.why = key, why
        super().__init__("`%s`: %s" % (key, why) if key else why)


class State(str, Enum):
    """A word out of a closed list. It prints as the word itself, under every Python."""

    def __str__(self) -> str:
        return str(self.value)


def to_json(value: Any) -> Any:
    """The JSON of a declared value, of lists and mappings of them, or of plain JSON, which stays as it is.

    Every field is written, None as null; a declaration that has to leave some out has an `as_json` of its own.
    """
    own = getattr(value, "as_json", None)
    if own is not None:
        return own()
    if hasattr(value, "_asdict"):
        return {name: to_json(item) for name, item in value._asdict().items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    return value


def from_json(kind: type[Value], document: object, key: str = "") -> Value:
    """The value of type `kind`, a NamedTuple, that a JSON object says. Raises WireError, with `key` before its key."""
    if not isinstance(document, dict):
        raise WireError(key, "an object is expected, not %s" % _shown(document))
    names = sys.modules[kind.__module__].__dict__
    defaults = kind._field_defaults  # type: ignore[attr-defined]
    values = []
    for name, annotation in kind.__annotations__.items():
        at = "%s.%s" % (key, name) if key else name
        given = document.get(name, MISSING)
        if given is not MISSING:
            values.append(_read(str(getattr(annotation, "__forward_arg__", annotation)), names, given, at))
        elif name in defaults:
            values.append(defaults[name])
        else:
            raise WireError(at, "is missing")
    return kind(*values)


def _read(declared: str, names: dict[str, Any], given: object, key: str) -> Any:
    """One value of the declared type. `names`: what the declaring module's names mean."""
    if declared.endswith(" | None"):
        if given is None:
            return None
        declared = declared[: -len(" | None")]
    if declared == "object":
        return given
    if declared in PLAIN:
        if not isinstance(given, PLAIN[declared]) or (isinstance(given, bool) and declared != "bool"):
            raise WireError(key, "%s is expected, not %s" % (declared, _shown(given)))
        return float(given) if declared == "float" else given  # type: ignore[arg-type]
    if declared.startswith("tuple["):
        if not isinstance(given, list):
            raise WireError(key, "a list is expected, not %s" % _shown(given))
        if declared.endswith(", ...]"):
            element = declared[len("tuple[") : -len(", ...]")]
            if element == "tuple[int, int]" and {type(item) for item in given} <= {list}:  # ranges may be thousands
                pairs = tuple(map(tuple, given))
                if {len(pair) for pair in pairs} <= {2} and {type(part) for pair in pairs for part in pair} <= {int}:
                    return pairs
            return tuple(_read(element, names, item, "%s[%d]" % (key, at)) for at, item in enumerate(given))
        elements = declared[len("tuple[") : -1].split(", ")  # plain types only
        if len(elements) != len(given):
            raise WireError(key, "%d values are expected, not %d" % (len(elements), len(given)))
        return tuple(_read(element, names, item, key) for element, item in zip(elements, given))
    if declared.startswith("dict[str, "):
        if not isinstance(given, dict):
            raise WireError(key, "an object is expected, not %s" % _shown(given))
        element = declared[len("dict[str, ") : -1]
        return {name: _read(element, names, item, "%s.%s" % (key, name)) for name, item in given.items()}
    kind = names[declared]
    if issubclass(kind, Enum):
        try:
            return kind(given)
        except ValueError:
            known = ", ".join(str(word.value) for word in kind)
            raise WireError(key, "%s is none of %s" % (_shown(given), known)) from None
    return from_json(kind, given, key)


def _shown(given: object) -> str:
    return "%s %.40r" % (type(given).__name__, given) if isinstance(given, (str, int, float)) else type(given).__name__
