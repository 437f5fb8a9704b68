"""A JSON file that others write too: our keys are merged into it, and removed again when they are no longer declared.

The record of what is ours is kept beside the file by whoever writes it: JSON pointers, with the items where the value
is a set (registry mirrors, labels). What is not recorded is somebody else's and never touched.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]
Owned = dict[str, list[Any] | None]  # pointer to the items of ours in a set, or None for a whole value


@dataclass(frozen=True)
class NotJson:
    """Refusal of a file that cannot be merged into; `why` is one sentence."""

    why: str


def read_object(text: str | None) -> JsonObject | NotJson:
    """The file's object; empty where there is no file. Comments are no JSON, and the sentence says where one stands."""
    if text is None or not text.strip():
        return {}
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1].strip() if text.splitlines() else ""
        if line.startswith(("#", "//", "/*")) or " //" in line:
            return NotJson(f"line {error.lineno} has a comment, and JSON has none: `{line[:60]}`; remove it")
        return NotJson(f"line {error.lineno} column {error.colno}: {error.msg}: `{line[:60]}`")
    if not isinstance(parsed, dict):
        return NotJson("it holds no JSON object")
    return parsed


def merge(live: JsonObject, declared: JsonObject, owned: Owned) -> tuple[JsonObject, Owned]:
    """The file as it should be, and the new record. Lists are ordered sets: ours first, foreign items after them."""
    merged = copy.deepcopy(live)
    wanted = dict(_leaves(declared, ""))
    for pointer, items in owned.items():
        if pointer not in wanted or items is not None:
            _remove(merged, pointer, items)
    now_owned: Owned = {}
    for pointer, value in wanted.items():
        if isinstance(value, list):
            foreign = [item for item in _find(merged, pointer) or [] if item not in value]
            _set(merged, pointer, [*value, *foreign])
            now_owned[pointer] = value
        else:
            _set(merged, pointer, value)
            now_owned[pointer] = None
    return merged, now_owned


def differing(live: JsonObject, merged: JsonObject) -> list[str]:
    """Pointers at which the two differ."""
    before, after = dict(_leaves(live, "")), dict(_leaves(merged, ""))
    return sorted(pointer for pointer in before.keys() | after.keys() if before.get(pointer) != after.get(pointer))


def written(value: JsonObject) -> str:
    return json.dumps(value, indent=4) + "\n"


def _leaves(value: JsonObject, at: str) -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, inner in value.items():
        pointer = f"{at}/{key.replace('~', '~0').replace('/', '~1')}"
        leaves += _leaves(inner, pointer) if isinstance(inner, dict) and inner else [(pointer, inner)]
    return leaves


def _keys(pointer: str) -> list[str]:
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer[1:].split("/")]


def _find(value: JsonObject, pointer: str) -> Any:
    inner: Any = value
    for key in _keys(pointer):
        inner = inner.get(key) if isinstance(inner, dict) else None
    return inner


def _set(value: JsonObject, pointer: str, wanted: Any) -> None:
    *path, last = _keys(pointer)
    for key in path:
        inner = value.get(key)
        if not isinstance(inner, dict):
            inner = value[key] = {}
        value = inner
    value[last] = wanted


def _remove(value: JsonObject, pointer: str, items: list[Any] | None) -> None:
    """Take a value out, or our items of a set; what is empty then goes too."""
    *path, last = _keys(pointer)
    chain = [value]
    for key in path:
        inner = chain[-1].get(key)
        if not isinstance(inner, dict):
            return
        chain.append(inner)
    current = chain[-1].get(last)
    left = [item for item in current if item not in items] if items is not None and isinstance(current, list) else []
    if left:
        chain[-1][last] = left
        return
    chain[-1].pop(last, None)
    for parent, key in zip(reversed(chain[:-1]), reversed(path), strict=True):
        if parent[key]:
            break
        del parent[key]
