"""Dify as declared over its console API, from the controller: administrator, plugins, models; mended call by call."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Generator
from functools import lru_cache, partial

from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host, state

from steelyard.api.change import Effect, Refusal
from steelyard.api.host_report import report_of
from steelyard.api.run_slots import run_slot
from steelyard.api.unknown import declare_unknown
from steelyard.dify.account import Administrator, is_set_up, name_workspace, set_up, workspace_name
from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.desired_state import DesiredState
from steelyard.dify.difference import ModelDifference, mend
from steelyard.dify.plugin_package import Package
from steelyard.dify.plugins import GITHUB, PluginDifference, install, plugin_differences
from steelyard.dify.provider_credentials import provider_credentials
from steelyard.dify.reconcile import differences
from steelyard.dify.vectors import Embedder, refuse_other_vectors
from steelyard.errors import DifyPluginMissing, DifyUnreachable, DifyVectorsChanged, SteelyardError
from steelyard.modules.facts.path import Content
from steelyard_host import paths

MARKS = paths.DIFY_MARKS
MARK_KEY = "key"  # in the file of marks; no credential's name, for those have slashes


@lru_cache
def client_of(access: DifyAccess) -> DifyClient:
    """One client, and so one login, per process and Dify."""
    return DifyClient(access)


class DifyCall(FunctionCommand):
    """One difference to mend; its text names what changes and never a value that is secret."""

    def __init__(
        self,
        access: DifyAccess,
        subject: str,
        declared: str,
        live: str,
        work: Callable[[DifyClient], None],
        effect: Effect = Effect.CHANGE,
    ) -> None:
        super().__init__(self._run, [], {})
        self.effect = effect
        self._access, self._work = access, work
        self.subject, self.declared, self.live = f"Dify {subject}", declared, live

    def _run(self, state: State, host: Host) -> bool:
        try:
            self._work(client_of(self._access))
        except SteelyardError as error:
            report_of(state, host).error = error
            return False
        return True


Calls = Generator[StringCommand | DifyCall, None, None]


@lru_cache
def _first_mark_key(url: str, secret: str) -> str:
    """The key of a host that keeps none yet: the same in a plan and in the apply of its file.

    It is kept from then on, so marks outlive a changed password. It is slow to make: nobody guesses a password by it.
    """
    made = hashlib.scrypt(secret.encode(), salt=f"steelyard dify {url}".encode(), n=2**14, r=8, p=1, dklen=32)
    return made.hex()


def mark_key(access: DifyAccess) -> str:
    """The key of the marks on this host."""
    return _kept().get(MARK_KEY) or _first_mark_key(access.url, access.admin_key or access.password)


def _refused(error: SteelyardError) -> Refusal:
    """The same sentence in a plan and in a run, for this host alone: an exception in a run would end it for every
    host.
    """
    if not state.is_executing:
        raise error
    report_of(state, host).error = error
    return Refusal(str(error), error)


@operation()
def owned(access: DifyAccess, admin: Administrator, workspace: str | None, installing: bool) -> Calls:
    """Dify has its administrator, and the workspace its name. `installing`: it may not run yet when a plan looks."""
    client = client_of(access)
    try:
        ready = is_set_up(client)
        if not ready:
            yield DifyCall(
                access, "administrator", admin.email, "none: whoever comes first", lambda dify: set_up(dify, admin)
            )
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
        to_mend = plugin_differences(client_of(access), packages, _kept()) if _answers(access) else []
    except SteelyardError as error:
        yield _refused(error)
        return
    for difference in to_mend:
        package = difference.package
        if not state.is_executing:
            _tell_what_is_at_stake(client_of(access), difference)
        yield DifyCall(
            access,
            f"plugin {package.plugin}",
            package.version,
            difference.live,
            partial(install, difference=difference),
        )


def _tell_what_is_at_stake(client: DifyClient, difference: PluginDifference) -> None:
    """Declare as unknown whether the daemon can put another version in place of one that came as a package."""
    there, package = difference.installed, difference.package
    if there is None or there.source == GITHUB or client.preserves_credentials():
        return
    at_stake = provider_credentials(client, package.plugin)
    if at_stake:
        declare_unknown(
            f"whether Dify can replace plugin {package.plugin} {there.version} by {package.version}",
            f"by an uninstall it would delete {', '.join(at_stake)}, and only its plugin daemon knows another way",
            "the apply, which refuses where there is none",
        )


class Looked(dict[DifyAccess, list[ModelDifference]]):
    """Differences that a plan saw in Dify, for the two tasks that mend them: while it only looks, once is enough."""


@operation()
def unregistered(access: DifyAccess, wanted: DesiredState, packages: tuple[Package, ...] = ()) -> Calls:
    """Models of ours that are declared no more are gone, before the gateway answers that there are none."""
    try:
        if not _is_there(access):
            return  # what it has, and that it does not answer, is told by the tasks after this one
        to_mend = _differences(access, wanted, packages)
    except DifyPluginMissing:
        return  # so nothing of ours is there; it is installed after this, or missed
    except SteelyardError as error:
        yield _refused(error)
        return
    yield from _calls(access, [difference for difference in to_mend or () if leaves_first(difference, wanted)])


@operation()
def registered(access: DifyAccess, wanted: DesiredState, packages: tuple[Package, ...] = ()) -> Calls:
    """Each model is registered under our credential, in use, enabled, with the declared fields; and nothing else of
    ours.
    """
    try:
        if not _answers(access):
            return
        to_mend = _differences(access, wanted, packages)
        if to_mend is None:
            declare_unknown(
                "which models are registered", "their plugin is not installed yet", "the apply that installs it"
            )
            return
    except SteelyardError as error:
        yield _refused(error)
        return
    yield from _calls(access, [difference for difference in to_mend if not leaves_first(difference, wanted)])


class OtherVectors(dict[DifyAccess, list[SteelyardError]]):
    """Refusals of embedding models whose version is another than the one that knowledge bases were indexed with."""


def vector_marks(access: DifyAccess, provider: str, embedders: tuple[Embedder, ...]) -> dict[str, str]:
    """Return what the host shall keep of vectors in knowledge bases: those of before, where others are refused."""
    kept, marks = _kept(), {}
    refused = run_slot(state, OtherVectors)[access] = []
    for embedder in embedders:
        marks[embedder.mark] = embedder.vectors
        before = kept.get(embedder.mark, embedder.vectors)
        if before == embedder.vectors or embedder.said:
            continue
        try:
            refuse_other_vectors(client_of(access), provider, embedder, before.partition(" ")[2])
        except SteelyardError as error:
            marks[embedder.mark] = before
            if isinstance(error, DifyVectorsChanged):
                refused.append(error)  # others are told by the tasks
    return marks


@operation()
def used_kept(access: DifyAccess, wanted: DesiredState, packages: tuple[Package, ...] = ()) -> Calls:
    """A model that is declared no more and used by somebody stays, and is told, after everything else was done; and so
    is an embedding model of which another version answers.
    """
    looked = run_slot(state, Looked)
    try:
        if access not in looked and _is_there(access):
            _differences(access, wanted, packages)
    except SteelyardError:
        pass  # the tasks before this one have said so
    blocked = [difference.blocked for difference in looked.get(access, []) if difference.blocked is not None]
    for error in [*run_slot(state, OtherVectors).get(access, []), *blocked]:
        if state.is_executing:
            report_of(state, host).error = error
        yield Refusal(f"{error}; {error.remedy}", error)


def _differences(
    access: DifyAccess, wanted: DesiredState, packages: tuple[Package, ...]
) -> list[ModelDifference] | None:
    """All that differs; None in a plan where the plugin that gives the form is yet to come."""
    looked = run_slot(state, Looked)
    if not state.is_executing and access in looked:
        return looked[access]
    client, kept = client_of(access), _kept()
    if not state.is_executing and _plugin_comes(client, wanted.provider, packages, kept):
        return None
    looked[access] = differences(client, dataclasses.replace(wanted, known_marks=kept))
    return looked[access]


def leaves_first(difference: ModelDifference, wanted: DesiredState) -> bool:
    """Whether a difference is the end of a model that no other takes the place of: one that is the default of its type
    goes when the next one has been registered.
    """
    given = {model.type for model in wanted.models if model.default}
    return difference.is_removal and not difference.comes_last and difference.model[1] not in given


def _calls(access: DifyAccess, to_mend: list[ModelDifference]) -> Calls:
    for difference in to_mend:
        if difference.blocked is not None:
            continue  # `used_kept` tells it, when the others are done
        # a finding is known by its subject: two things that differ of one model are two
        yield DifyCall(
            access,
            f"{difference.subject} ({difference.action})",
            difference.declared,
            difference.live,
            partial(mend, difference=difference),
            Effect.REMOVAL if difference.is_removal else Effect.CHANGE,
        )


def _is_there(access: DifyAccess) -> bool:
    """Whether Dify runs, and belongs to somebody."""
    try:
        return is_set_up(client_of(access))
    except DifyUnreachable:
        return False


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
    """The marks of keys and packages that were last given to Dify, and their own key."""
    try:
        marks = json.loads(host.get_fact(Content, path=MARKS) or b"{}")
    except ValueError:
        return {}  # a file that is damaged marks nothing: every key is sent once more
    return marks if isinstance(marks, dict) else {}


def _plugin_comes(client: DifyClient, provider: str, packages: tuple[Package, ...], kept: dict[str, str]) -> bool:
    plugin = provider.rpartition("/")[0]
    return any(difference.package.plugin == plugin for difference in plugin_differences(client, packages, kept))
