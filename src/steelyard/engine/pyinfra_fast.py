"""Fast paths for what pyinfra and paramiko work out anew for every task and packet. Answers stay the same.

Each was the first line of a profile of an in-sync plan of 40 tasks on 20 hosts; `make bench-engine` prints what is left
beside stock pyinfra. tests/unit/test_pyinfra_fast.py compares each with the original.
"""

from __future__ import annotations

import hmac
import inspect
import logging
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import cached_property, lru_cache
from pathlib import Path
from types import FrameType, MethodType
from typing import Any, Generic, TypeVar, cast

import paramiko.util
import pyinfra
import pyinfra.api.arguments
import pyinfra.api.inventory
import pyinfra.api.operation
from pyinfra.api.arguments import AllArguments, all_argument_meta, pop_global_arguments
from pyinfra.api.exceptions import ArgumentTypeError
from pyinfra.api.host import Host, HostData
from pyinfra.api.state import State
from pyinfra.api.util import raise_if_bad_type
from pyinfra.connectors.base import BaseConnector
from pyinfra.context import ContextObject, ctx_config

from steelyard.api.run_slots import run_slot

from .untouched import allowed

INSTALLED = str(Path(pyinfra.__file__).parent)
NOTHING = object()
Value = TypeVar("Value")
ORIGINAL_ARGUMENTS = pop_global_arguments
UNCOPIED = (str, int, float, bool, type(None), tuple)  # nobody can change these


def call_order(state: State) -> list[int]:
    """Return the place of an operation in a deploy: line numbers of the calls from the deploy file inwards.

    pyinfra asks `inspect.stack()`, which reads source files and searches every loaded module; frames know the answer.
    """
    lines: list[int] = []
    frame: FrameType | None = sys._getframe(1)
    until = 0  # how many lines lie between here and the outermost frame of the deploy file
    deploy = state.current_deploy_filename
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(INSTALLED):
            lines.append(frame.f_lineno)
        if code.co_filename == deploy:
            until = len(lines)
        frame = frame.f_back
    inner = lines[:until] if until else lines
    return [state.current_op_file_number, *reversed(inner)] if pyinfra.is_cli else list(reversed(inner))


class Lazy(Generic[Value]):
    """A value of host data that is made when it is first asked for, once for all hosts."""

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make = make

    @cached_property
    def value(self) -> Value:
        with allowed():  # kept for the look, where a rehearsal asks first
            return self._make()


class FastHostData(HostData):
    """Host data that looks through what the inventory gives once, and copies only what can be changed."""

    def __getattr__(self, key: str) -> Any:
        value = self.get(key, NOTHING)
        if value is NOTHING:
            raise AttributeError(f"Host `{self.host}` has no data `{key}`")
        return value

    def get(self, key: str, default: Any = None) -> Any:
        own = self.__dict__
        for values in (own["override_datas"], own["inventory_data"], own["datas"][-1]()):
            if key in values:
                value = values[key]
                if isinstance(value, Lazy):
                    return value.value
                return value if isinstance(value, UNCOPIED) else copy(value)
        return default


def install_fast_host_data(host: Host) -> None:
    """Give one host the fast data: what the inventory says is fixed from here on, what a deploy sets is not."""
    data = host.data
    merged: dict[str, Any] = {}
    for given in reversed(data.__dict__["datas"][1:-1]):
        merged.update(given())
    data.__dict__["inventory_data"] = merged
    object.__setattr__(data, "__class__", FastHostData)


def fast_arguments(state: State, host: Host, kwargs: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Replace pyinfra's `pop_global_arguments`: what a host and its configuration give is worked out once, not per
    task.
    """
    data = host.data
    if type(data) is not FastHostData or data.override_datas or host.get_deploy_data():
        return ORIGINAL_ARGUMENTS(state, host, kwargs)  # type: ignore[return-value]
    config = ctx_config.get() if ctx_config.isset() else state.config
    kept = data.__dict__.get("given_arguments")
    if kept is None or kept[0] != vars(config):
        given = _given(config, data)
        copied = [key for key, value in given.items() if isinstance(value, dict)]
        kept = data.__dict__["given_arguments"] = (dict(vars(config)), given, copied)
    defaults: dict[str, Any] = kept[1]
    arguments = dict(defaults)
    for key in kept[2]:
        arguments[key] = dict(defaults[key])
    passed = [key for key in defaults if key in kwargs]
    around = cast(dict[str, Any], host.current_deploy_kwargs or {})
    for key, value in [*around.items(), *((key, kwargs.pop(key)) for key in passed)]:
        if key not in defaults or (value is defaults[key] and all_argument_meta[key].handler is None):
            continue
        arguments[key] = _checked(config, key, value, defaults[key])
    return arguments, passed


def _given(config: Any, data: FastHostData) -> dict[str, Any]:
    arguments = {}
    for key in _type_hints(AllArguments):
        default = data.get(key, NOTHING)
        if default is NOTHING:
            default = all_argument_meta[key].default(config)
        arguments[key] = _checked(config, key, default, default)
    return arguments


def _checked(config: Any, key: str, value: Any, default: Any) -> Any:
    handler = all_argument_meta[key].handler
    if handler is not None:
        value = handler(config, value)
    if value != default:
        kind = _type_hints(AllArguments)[key]
        raise_if_bad_type(value, kind, ArgumentTypeError, f"Invalid argument `{key}`:")
    return value


def fast_context(context: ContextObject, key: str) -> Any:
    """Replace `ContextObject.__getattr__`, which asks twice where one answer is enough."""
    module = context._container.module
    return getattr(context._base_cls if module is None else module, key)


@lru_cache(maxsize=1024)
def fast_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Replace `inspect.signature` of an operation, which is bound once a task."""
    return inspect.signature(function)


def fast_call_arguments(function: MethodType, /, *args: Any, **kwargs: Any) -> Mapping[str, object]:
    """Replace `inspect.getcallargs` of a fact's command. What is not plain, or wrong, is left to the original."""
    plain = _plain_parameters(function.__func__) if isinstance(function, MethodType) else None
    if plain is None:
        return inspect.getcallargs(function, *args, **kwargs)
    names, defaults = plain
    given: dict[str, Any] = dict(zip(names, (function.__self__, *args), strict=False))
    given |= {name: value for name, value in kwargs.items() if name in names and name not in given}
    missing = [name for name in names if name not in given]
    if len(given) != 1 + len(args) + len(kwargs) or not defaults.keys() >= set(missing):
        return inspect.getcallargs(function, *args, **kwargs)
    return given | {name: defaults[name] for name in missing}


@lru_cache(maxsize=1024)
def _plain_parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """Return names and defaults of a function's parameters; None where some can only be given one way."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is not parameter.POSITIONAL_OR_KEYWORD for parameter in parameters.values()):
        return None
    defaults = {name: taken.default for name, taken in parameters.items() if taken.default is not taken.empty}
    return tuple(parameters), defaults


class NameWidth:
    """Letters of the longest host name of a run; 0 before it was looked for."""

    letters = 0


def fast_init(host: Host, state: State) -> None:
    """Replace pyinfra's `Host.init`, without measuring every host's name for every host."""
    host.state = state
    host.connector = host.connector_cls(state, host)
    widest = run_slot(state, NameWidth)
    if not widest.letters:
        widest.letters = max(len(name) for name in host.inventory.hosts)
    host.print_prefix_padding = " " * (widest.letters - len(host.name))


@contextmanager
def fast_connectors(names: Iterable[str], connector: type[BaseConnector]) -> Iterator[None]:
    """Give hosts our one connector: pyinfra reads every installed distribution for others, twice. `@NAME` asks for
    them.
    """
    inventory: Any = sys.modules["pyinfra.api.inventory"]
    kept = inventory.get_all_connectors, inventory.get_execution_connectors
    if not any(name.startswith("@") for name in names):
        inventory.get_all_connectors, inventory.get_execution_connectors = dict, lambda: {"ssh": connector}
    try:
        yield
    finally:
        inventory.get_all_connectors, inventory.get_execution_connectors = kept


def install_fast_paths() -> None:
    """Put the fast paths in place; more than once does nothing more."""
    # `pyinfra.api.operation` as an attribute is the decorator of that name, not the module
    sys.modules["pyinfra.api.operation"].get_operation_order_from_stack = call_order  # type: ignore[attr-defined]
    sys.modules["pyinfra.api.arguments"].get_type_hints = _type_hints  # type: ignore[attr-defined]
    for name in ("arguments", "operation", "facts", "deploy"):
        sys.modules[f"pyinfra.api.{name}"].pop_global_arguments = fast_arguments  # type: ignore[attr-defined]
    sys.modules["pyinfra.api.operation"].signature = fast_signature  # type: ignore[attr-defined]
    sys.modules["pyinfra.api.facts"].getcallargs = fast_call_arguments  # type: ignore[attr-defined]
    ContextObject.__getattr__ = fast_context  # type: ignore[method-assign]
    Host.init = fast_init  # type: ignore[method-assign, assignment]
    paramiko.util.constant_time_bytes_eq = hmac.compare_digest  # type: ignore[assignment]


@lru_cache
def _type_hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def quiet_pyinfra() -> None:
    """pyinfra logs at will; what matters of it reaches the user as our events."""
    logger = logging.getLogger("pyinfra")
    logger.handlers[:] = [logging.NullHandler()]
    logger.propagate = False
    logger.disabled = True
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    logging.getLogger("paramiko").propagate = False
