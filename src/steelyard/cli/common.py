"""The beginning of every command, once: `@command` declares the options that commands share, and `Run` is made of them.

A command says where the shared options stand by where its `run` stands: `def push(models, run: Run, rate)` shows the
inventory and the limit before `--rate`, and the others behind it. A parameter that is a dataclass stands for its
fields: options that two commands share. The parser sees all of them as the command's own, so help, completion and the
reference page know no difference.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from steelyard.errors import ConfirmationImpossible, Exit
from steelyard.interrupts.signals import HANDLER
from steelyard.inventory.layers import joined

from .options import (
    EVERYTHING,
    INVENTORY,
    SITE,
    DeployName,
    GivenInventory,
    InventoryPath,
    Json,
    LimitTo,
    NoColor,
    Quiet,
    VaultPasswordFile,
    Verbose,
    Yes,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from steelyard.engine.lock import FleetLock
    from steelyard.engine.session import Session
    from steelyard.errors import SteelyardError
    from steelyard.inventory.fleet import Fleet
    from steelyard.render.screen import Screen
    from steelyard.workflows.run_context import RunOptions

# `chosen`: the only inventory there is stands in for one that is not named; `optional`: the command decides itself
Needs = Literal["chosen", "optional", "none"]


@dataclass
class Run:
    """One call of a command: the shared options as they were given, its screen, and the errors of its hosts.

    `named_inventory` is None where the command can do without one and none was named; `deploy` where it has none.
    """

    screen: Screen
    named_inventory: Path | None = None
    limit: str = EVERYTHING
    vault_password_file: Path | None = None
    deploy: str | None = None
    yes: bool = False
    errors: dict[str, SteelyardError] = field(default_factory=dict)

    @property
    def inventory(self) -> Path:
        """The inventory that the command works on."""
        assert self.named_inventory is not None, "a command that can do without an inventory chooses one first"
        return self.named_inventory

    @property
    def options(self) -> RunOptions:
        """The options as use cases take them: hosts are asked, and every role's settings have to be complete."""
        from steelyard.workflows.run_context import RunOptions

        return RunOptions(self.inventory, self.limit, self.vault_password_file, self.deploy)

    @property
    def offline(self) -> RunOptions:
        """The options where no host has to be asked, so that something may be left to be filled in."""
        return replace(self.options, connecting=False)

    def read(self, options: RunOptions | None = None) -> Fleet:
        """The fleet, read and checked; nothing is connected to. Raises every error of reading."""
        from steelyard.workflows.run_context import read

        return read(options or self.options, self.screen.event)

    @contextmanager
    def session(self, options: RunOptions | None = None) -> Iterator[tuple[Fleet, Session]]:
        """A session over the selected hosts; the errors of its hosts are the run's when it ends well."""
        from steelyard.workflows.run_context import open_session

        with open_session(options or self.options, self.screen.event) as (fleet, session):
            yield fleet, session
            self.errors |= session.errors

    def fleet_lock(self, fleet: Fleet, alias: str | None = None) -> AbstractContextManager[FleetLock]:
        """The fleet's lock, or that of a rollout of `alias`, not connected yet."""
        from steelyard.workflows.run_context import fleet_lock

        return fleet_lock(self.options, fleet, self.screen.event, alias)

    def confirmed(
        self, question: str, *, where: str, changes: int, look: str, show: Callable[[], object] | None = None
    ) -> bool:
        """True with `--yes`, or where a person says so, after `show` has shown what is asked about.

        Raises ConfirmationImpossible where nobody can be asked; `look` says how to see the changes first.
        """
        if self.yes:
            return True
        if not sys.stdin.isatty():
            raise ConfirmationImpossible(where=where, changes=str(changes), look=look)
        if show is not None:
            show()
        return self.screen.confirm(question)

    def exit(self, otherwise: Exit = Exit.DONE) -> Exit:
        """HOST_FAILED where a host did not answer; `otherwise` where all did."""
        return Exit.HOST_FAILED if self.errors else otherwise


def command(
    *,
    inventory: Needs = "chosen",
    hosts: bool = False,
    limit: bool = False,
    deploy: bool = False,
    vault_first: bool = False,
    yes: bool = False,
    verbose: bool = False,
) -> Callable[[Callable[..., Exit]], Callable[..., Exit]]:
    """Put the shared options into a command's signature, in the place of its parameter `run`.

    Every command gets `--json`, `--quiet` and `--no-color`; one with an inventory `--vault-password-file` too, before
    the command's own options with `vault_first` and behind them without. `hosts`, which `limit` implies: it talks to
    hosts whatever its options say, so gevent's patches come before everything that the command imports.
    """
    named = InventoryPath if inventory == "chosen" else GivenInventory
    vault = [_shared("vault_password_file", VaultPasswordFile, None)] if inventory != "none" else []
    before = [
        *([_shared("inventory", named, INVENTORY if inventory == "chosen" else None)] if inventory != "none" else []),
        *([_shared("limit", LimitTo, EVERYTHING)] if limit else []),
        *([_shared("deploy", DeployName, SITE)] if deploy else []),
        *(vault if vault_first else []),
    ]
    behind = [
        *(vault if not vault_first else []),
        *([_shared("yes", Yes, False)] if yes else []),
        _shared("json", Json, False),
        *([_shared("verbose", Verbose, 0)] if verbose else []),
        _shared("quiet", Quiet, False),
        _shared("no_color", NoColor, False),
    ]
    return functools.partial(_declare, before=before, behind=behind, talks=hosts or limit)


def _declare(
    function: Callable[..., Exit], before: list[inspect.Parameter], behind: list[inspect.Parameter], talks: bool
) -> Callable[..., Exit]:
    """The function as the parser gets it: with `before` in place of `run`, and `behind` after its own parameters."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Callable[..., object]] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.name == "run":
            parameters += before
        elif is_dataclass(parameter.annotation) and isinstance(parameter.annotation, type):
            groups[parameter.name] = parameter.annotation
            parameters += _fields_of(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    signature = inspect.Signature([*parameters, *behind], return_annotation=Exit)

    @functools.wraps(function)
    def called(**given: Any) -> Exit:
        if talks:
            from steelyard.engine import gevent_patch  # noqa: F401  before paramiko and pyinfra

            HANDLER.attach_to_hub()
        bound = signature.bind(**given)
        bound.apply_defaults()
        values = bound.arguments
        run = _run({option.name: values.pop(option.name) for option in (*before, *behind)})
        for name, group in groups.items():
            values[name] = group(**{option: values.pop(option) for option in inspect.signature(group).parameters})
        return function(**values, run=run)

    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
    return called


def _fields_of(group: type) -> list[inspect.Parameter]:
    """The fields of a dataclass as parameters; each has a default."""
    annotations = get_type_hints(group, include_extras=True)
    return [_shared(option.name, annotations[option.name], option.default) for option in fields(group)]


def _shared(name: str, annotation: object, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _run(given: dict[str, Any]) -> Run:
    """The run of the shared options, by their names; those that the command does not have keep their defaults."""
    from steelyard.render.screen import Screen

    screen = Screen(
        json=given.pop("json"),
        verbose=given.pop("verbose", 0),
        quiet=given.pop("quiet"),
        no_color=given.pop("no_color"),
    )
    named: list[Path] | None = given.pop("inventory", None)
    return Run(screen, joined(named) if named else None, **given)
