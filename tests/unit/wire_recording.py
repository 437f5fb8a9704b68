"""What the tests of the wire share: the recorder, and how an older document is held against a newer one."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
# null where there is none; older controllers ask for these by `.get`, and by the presence of `error` for example
NEW = ("cause", "drained_s", "gap_s", "seconds")
# said of trials, proxies and backups since then; older controllers ask for nothing by these names
BESIDE = (
    "at",
    "before",
    "by",
    "checked",
    "compose",
    "left_s",
    "passed_over",
    "passed_over_count",
    "running",
    "unchecked",
    "until",
)


def recorder() -> Any:
    spec = importlib.util.spec_from_file_location("record_wire", ROOT / "tools/record_wire.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lost(older: Any, newer: Any, key: str = "") -> Iterator[str]:
    """Keys of an older document that a newer one lacks or says otherwise, and new ones that are none of NEW's nulls
    or of BESIDE.
    """
    if isinstance(older, dict) and isinstance(newer, dict):
        for name in older.keys() | newer.keys():
            at = f"{key}.{name}" if key else name
            if name not in newer:
                yield f"{at} is missing"
            elif name not in older:
                if name not in BESIDE and (name not in NEW or newer[name] is not None):
                    yield f"{at} is new, and {newer[name]!r}"
            else:
                yield from lost(older[name], newer[name], at)
    elif isinstance(older, list) and isinstance(newer, list) and len(older) == len(newer):
        for number, (mine, theirs) in enumerate(zip(older, newer, strict=True)):
            yield from lost(mine, theirs, f"{key}[{number}]")
    elif older != newer:
        yield f"{key}: {older!r} became {newer!r}"


def misread(older: Any, value: Any, key: str = "") -> Iterator[str]:
    """Keys of an older document that a value read from it lacks or has otherwise, and fields that nobody said and that
    are not as they are declared.
    """
    if hasattr(value, "_asdict"):
        renamed = {"from_version": "from"}
        fields = {renamed.get(name, name): name for name in value._fields}
        for name in older.keys() | fields.keys():
            at = f"{key}.{name}" if key else name
            if name not in fields:
                yield f"{at} is not read"
            elif name in older:
                yield from misread(older[name], getattr(value, fields[name]), at)
            elif getattr(value, fields[name]) != value._field_defaults[fields[name]]:
                yield f"{at} was not said, and is {getattr(value, fields[name])!r}"
    elif isinstance(older, list) and isinstance(value, tuple) and len(older) == len(value):
        for number, (mine, theirs) in enumerate(zip(older, value, strict=True)):
            yield from misread(mine, theirs, f"{key}[{number}]")
    elif isinstance(older, dict) and isinstance(value, dict) and older.keys() == value.keys():
        for name in older:
            yield from misread(older[name], value[name], f"{key}.{name}")
    elif older != value or isinstance(older, bool) is not isinstance(value, bool):
        yield f"{key}: {older!r} is read as {value!r}"
