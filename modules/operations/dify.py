"""Dify as declared over its console API, from the controller: administrator, plugins, models; mended call by call."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Generator
from functools import lru_cache, partial
from typing import Any

from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from steelyard.dify.account import Administrator, is_set_up, name_workspace, set_up, workspace_name
from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.difference import mend
from steelyard.dify.plugins import Package, install, plugin_differences
from steelyard.dify.reconcile import differences
from steelyard.dify.wanted import Wanted
from steelyard.errors import DifyUnreachable, SteelyardError
from steelyard.modules.facts.path import Content
from steelyard.refusal import FAILED_BY, Refusal
from steelyard.unknowns import declare_unknown

MARKS = "/var/lib/steelyard/dify/marks.json"


@lru_cache
def client_of(access: DifyAccess) -> DifyClient:
    """One client, and so one login, per process and Dify."""
    return DifyClient(access)


class DifyCall(FunctionCommand):
    """One difference to mend; its text names what changes and never a value that is secret."""

    def __init__(self, access: DifyAccess, subject: str, declared: str, live: str, work: Callable[[DifyClient], None]) -> None:
        super().__init__(self._run, [], {})
        self._access, self._work = access, work
        self.subject, self.declared, self.live = f"Dify {subject}", declared, live

    def _run(self, state: Any, host: Any) -> bool:
        try:
            self._work(client_of(self._access))
        except SteelyardError as error:
            setattr(host, FAILED_BY, error)
            return False
        return True


Calls = Generator[StringCommand | DifyCall, None, None]


def _refused(error: SteelyardError) -> Refusal:
    """The same sentence in a plan and in a run, for this host alone: an exception in a run would end it for every host."""
    if not state.is_executing:
        raise error
    setattr(host, FAILED_BY, error)
    return Refusal(str(error))


@operation()
def owned(access: DifyAccess, admin: Administrator, workspace: str | None, installing: bool) -> Calls:
    """Dify has its administrator, and the workspace its name. `installing`: it may not run yet when a plan looks."""
    client = client_of(access)
    try:
        ready = is_set_up(client)
        if not ready:
            yield DifyCall(access, "administrator", admin.email, "none: whoever comes first", lambda dify: set_up(dify, admin))
        if workspace is None:
            return
        live = workspace_name(client) if ready else "not made yet"
        if live != workspace:
            yield DifyCall(access, "workspace", workspace, live, lambda dify: name_workspace(dify, workspace))
    except SteelyardError as error:
        if installing and isinstance(error, DifyUnreachable) and not state.is_executing:
            declare_unknown("what Dify has", "it does not run yet", "the apply that starts it")
            return
        yield _refused(error)


@operation()
def plugins_installed(access: DifyAccess, packages: tuple[Package, ...]) -> Calls:
    """Each package is installed, by version and hash."""
    try:
        found = plugin_differences(client_of(access), packages, _kept()) if _answers(access) else []
    except SteelyardError as error:
        yield _refused(error)
        return
    for each in found:
        package = each.package
        yield DifyCall(access, f"plugin {package.plugin}", package.version, each.live, partial(install, difference=each))


@operation()
def registered(access: DifyAccess, wanted: Wanted, packages: tuple[Package, ...] = ()) -> Calls:
    """Each model is registered under our credential, in use, enabled, with the declared fields; and nothing else of ours."""
    try:
        if not _answers(access):
            return
        client = client_of(access)
        kept = _kept()
        if not state.is_executing and _plugin_comes(client, wanted.provider, packages, kept):
            declare_unknown("which models are registered", "their plugin is not installed yet", "the apply that installs it")
            return
        found = differences(client, dataclasses.replace(wanted, kept=kept))
    except SteelyardError as error:
        yield _refused(error)
        return
    for each in found:
        # a finding is known by its subject: two things that differ of one model are two
        yield DifyCall(access, f"{each.subject} ({each.action})", each.declared, each.live, partial(mend, difference=each))


def _answers(access: DifyAccess) -> bool:
    """False in a plan before Dify was started or set up: `owned` said so."""
    if state.is_executing:
        return True
    try:
        return is_set_up(client_of(access))
    except DifyUnreachable:
        if access.release is None:
            raise
        return False


def _kept() -> dict[str, str]:
    """The marks of keys and packages that were last given to Dify."""
    found: dict[str, str] = json.loads(host.get_fact(Content, path=MARKS) or b"{}")
    return found


def _plugin_comes(client: DifyClient, provider: str, packages: tuple[Package, ...], kept: dict[str, str]) -> bool:
    plugin = provider.rpartition("/")[0]
    return any(each.package.plugin == plugin for each in plugin_differences(client, packages, kept))
