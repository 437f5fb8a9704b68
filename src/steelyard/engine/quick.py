"""What pyinfra and paramiko work out anew for every task and packet, worked out once. Answers stay the same.

Each was the first line of a profile of an in-sync plan of 40 tasks on 20 hosts; `make bench-engine` prints what is left
beside stock pyinfra. tests/unit/test_quick.py compares each with the original.
"""

from __future__ import annotations

import hmac
import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import cached_property, lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar, cast

import paramiko.util
import pyinfra
import pyinfra.api.arguments
import pyinfra.api.inventory
import pyinfra.api.operation
from paramiko.hostkeys import HostKeys
from pyinfra.api.arguments import AllArguments, all_argument_meta, pop_global_arguments
from pyinfra.api.exceptions import ArgumentTypeError
from pyinfra.api.host import Host, HostData
from pyinfra.api.util import raise_if_bad_type
from pyinfra.connectors.base import BaseConnector
from pyinfra.context import ctx_config

INSTALLED = str(Path(pyinfra.__file__).parent)
NOTHING = object()
Value = TypeVar("Value")
ORIGINAL_ARGUMENTS = pop_global_arguments
ORIGINAL_LOOKUP = HostKeys.lookup
UNCOPIED = (str, int, float, bool, type(None), tuple)  # nobody can change these


def call_order(state: Any) -> list[int]:
    """The place of an operation in a deploy: line numbers of the calls from the deploy file inwards.

    pyinfra asks `inspect.stack()`, which reads source files and searches every loaded module; frames know the answer.
    """
    lines: list[int] = []
    frame: FrameType | None = sys._getframe(1)
    until = 0  # how many lines lie between here and the outermost frame of the deploy file
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(INSTALLED):
            lines.append(frame.f_lineno)
        if code.co_filename == state.current_deploy_filename:
            until = len(lines)
        frame = frame.f_back
    inner = lines[:until] if until else lines
    return [state.current_op_file_number, *reversed(inner)] if pyinfra.is_cli else list(reversed(inner))


class Later(Generic[Value]):
    """Host data that is made when it is first asked for, once for all hosts."""

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make = make

    @cached_property
    def value(self) -> Value:
        return self._make()


class QuickHostData(HostData):
    """Looks through what the inventory gives once, and copies only what can be changed."""

    def __getattr__(self, key: str) -> Any:
        found = self.get(key, NOTHING)
        if found is NOTHING:
            raise AttributeError(f"Host `{self.host}` has no data `{key}`")
        return found

    def get(self, key: str, default: Any = None) -> Any:
        own = self.__dict__
        for values in (own["override_datas"], own["inventory_data"], own["datas"][-1]()):
            if key in values:
                found = values[key]
                if isinstance(found, Later):
                    return found.value
                return found if isinstance(found, UNCOPIED) else copy(found)
        return default


def quicken_host(host: Host) -> None:
    """Give one host the quick data: what the inventory says is fixed from here on, what a deploy sets is not."""
    data = host.data
    merged: dict[str, Any] = {}
    for given in reversed(data.__dict__["datas"][1:-1]):
        merged.update(given())
    data.__dict__["inventory_data"] = merged
    object.__setattr__(data, "__class__", QuickHostData)


def quick_arguments(state: Any, host: Host, kwargs: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """pyinfra's `pop_global_arguments`: what a host and its configuration give is worked out once, not per task."""
    data = host.data
    if type(data) is not QuickHostData or data.override_datas or host.get_deploy_data():
        return ORIGINAL_ARGUMENTS(state, host, kwargs)  # type: ignore[return-value]
    config = ctx_config.get() if ctx_config.isset() else state.config
    kept = data.__dict__.get("given_arguments")
    if kept is None or kept[0] != vars(config):
        kept = data.__dict__["given_arguments"] = (dict(vars(config)), _given(config, data))
    defaults: dict[str, Any] = kept[1]
    arguments = {key: dict(value) if isinstance(value, dict) else value for key, value in defaults.items()}
    found = [key for key in defaults if key in kwargs]
    around = cast(dict[str, Any], host.current_deploy_kwargs or {})
    for key, value in [*around.items(), *((key, kwargs.pop(key)) for key in found)]:
        if key in defaults:
            arguments[key] = _checked(config, key, value, defaults[key])
    return arguments, found


def _given(config: Any, data: QuickHostData) -> dict[str, Any]:
    found = {}
    for key in _type_hints(AllArguments):
        default = data.get(key, NOTHING)
        if default is NOTHING:
            default = all_argument_meta[key].default(config)
        found[key] = _checked(config, key, default, default)
    return found


def _checked(config: Any, key: str, value: Any, default: Any) -> Any:
    handler = all_argument_meta[key].handler
    if handler is not None:
        value = handler(config, value)
    if value != default:
        kind = _type_hints(AllArguments)[key]
        raise_if_bad_type(value, kind, ArgumentTypeError, f"Invalid argument `{key}`:")
    return value


def quick_lookup(keys: HostKeys, hostname: str) -> Any:
    """paramiko's `HostKeys.lookup`: by name, instead of through every line of known_hosts for every host."""
    entries = keys._entries  # type: ignore[attr-defined]
    kept = keys.__dict__.get("by_name")
    if kept is None or kept[0] != len(entries):
        by_name: dict[str, list[Any]] = {}
        for entry in entries:
            for name in entry.hostnames:
                by_name.setdefault("|1|" if name.startswith("|1|") else name, []).append(entry)
        kept = keys.__dict__["by_name"] = (len(entries), by_name)
    found = HostKeys()
    # hashed names fit no index; they are tried as before
    found._entries = [*kept[1].get(hostname, ()), *kept[1].get("|1|", ())]  # type: ignore[attr-defined]
    return ORIGINAL_LOOKUP(found, hostname)


def quick_init(host: Host, state: Any) -> None:
    """pyinfra's `Host.init`, without measuring every host's name for every host."""
    host.state = state
    host.connector = host.connector_cls(state, host)
    if "longest_name" not in state.__dict__:
        state.longest_name = max(len(name) for name in host.inventory.hosts)
    host.print_prefix_padding = " " * (state.longest_name - len(host.name))


@contextmanager
def quick_connectors(names: Iterable[str], connector: type[BaseConnector]) -> Iterator[None]:
    """Hosts of ours have one connector: pyinfra reads every installed distribution for others, twice. `@NAME` asks for them."""
    inventory: Any = sys.modules["pyinfra.api.inventory"]
    kept = inventory.get_all_connectors, inventory.get_execution_connectors
    if not any(name.startswith("@") for name in names):
        inventory.get_all_connectors, inventory.get_execution_connectors = dict, lambda: {"ssh": connector}
    try:
        yield
    finally:
        inventory.get_all_connectors, inventory.get_execution_connectors = kept


def quicken() -> None:
    """Put the quick answers in place; more than once does nothing more."""
    # `pyinfra.api.operation` as an attribute is the decorator of that name, not the module
    sys.modules["pyinfra.api.operation"].get_operation_order_from_stack = call_order  # type: ignore[attr-defined]
    sys.modules["pyinfra.api.arguments"].get_type_hints = _type_hints  # type: ignore[attr-defined]
    for name in ("arguments", "operation", "facts", "deploy"):
        sys.modules[f"pyinfra.api.{name}"].pop_global_arguments = quick_arguments  # type: ignore[attr-defined]
    Host.init = quick_init  # type: ignore[method-assign, assignment]
    HostKeys.lookup = quick_lookup  # type: ignore[method-assign, assignment]
    paramiko.util.constant_time_bytes_eq = hmac.compare_digest  # type: ignore[assignment]


@lru_cache
def _type_hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
