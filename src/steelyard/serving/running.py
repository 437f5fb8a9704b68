"""How a host runs an engine: plain values that its role gives, and that the units, files and tasks of a service are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from steelyard.settings import RoleSettings
from steelyard.site import Service


class EngineSettings(RoleSettings):
    """The section of an engine: at least which version, and what its hosts need."""

    version: str
    packages: tuple[str, ...]


class EngineFile(NamedTuple):
    """A file of the engine's own on each host that runs it; `task` is what the plan calls it."""

    task: str
    path: str
    text: str


@dataclass(frozen=True)
class Running:
    """One engine. `settings`: its section; `environment`: lines of its unit; `command`: after `engine-exec`.

    `suffix` is that of its config file, and `config` its text, from the service, the seconds for running requests at a stop, and
    loading options that were measured. `compiles`: it keeps what it compiled, so hosts can share that.
    """

    kind: str
    title: str
    settings: type[EngineSettings]
    environment: tuple[str, ...]
    command: str
    suffix: str
    config: Callable[[Service, int, Mapping[str, Any]], str]
    files: tuple[EngineFile, ...] = ()
    compiles: bool = False
