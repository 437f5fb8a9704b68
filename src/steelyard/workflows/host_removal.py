"""One host out of a site: what has to be told, in which order, and what nobody can do any more.

The gateways stop sending first, then the host's engines finish and stop, then it is cleared; at the end everybody who
remembers it forgets it. Whether the host is still declared makes no difference to any of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steelyard.api.host_error import HostError
from steelyard.api.leaving import LEAVES
from steelyard.errors import HostDoesNotAnswer, HostUnknown, LastOfGroup, LastReplica, SteelyardError, nearest_key
from steelyard.events import Emit
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.inventory.limit import Limit
from steelyard.inventory.locate import locate
from steelyard.inventory.mentions import Mention, mentions
from steelyard.inventory.without import beside, unserved, without
from steelyard.modules.connectors.helper_call import call_helper
from steelyard.site.resolve import site_of
from steelyard_host.wire.remains import Remains

from .run_context import RunOptions, deploy_path, open_fleet_session, read
from .site_hosts import Remembered, as_declared, forget, forget_on, remembered

if TYPE_CHECKING:
    from steelyard.engine.plan import Plan
    from steelyard.engine.session import Session

DEPLOY = "host_remove"
REMEMBERING = 5  # the first hosts of a fleet: those that may have been asked to remember its hosts
NEEDED = ("gateway", "dify", "mirror")  # groups that the rest of a site needs a host of


@dataclass(frozen=True)
class HostRemoval:
    """The removal of `host`, which is in no group of `fleet` any more. `declared`: the inventory still names it.

    `names`: who has to be asked; `unserved`: models that nobody serves afterwards; `is_dead`: it is not asked.
    `before`: the fleet as the inventory has it.
    """

    options: RunOptions
    before: Fleet
    fleet: Fleet
    host: FleetHost
    declared: bool
    is_dead: bool
    names: tuple[str, ...]
    unserved: tuple[str, ...] = ()

    @contextmanager
    def session(self, emit: Emit) -> Iterator[Session]:
        """A session over everybody who has to know."""
        with open_fleet_session(self.fleet, self.names, deploy_path(DEPLOY), emit) as session:
            yield session

    @property
    def rest(self) -> Fleet:
        """The site without the host."""
        return without(self.fleet, self.host.name)

    @property
    def locked(self) -> Fleet:
        """The fleet whose lock keeps others out: as they read it, or without a host that is dead.

        Without it there may be other keepers. As it answers nobody, theirs and these have one in common still.
        """
        return self.rest if self.is_dead else self.before

    def named(self) -> list[Mention]:
        """Lines of the inventory that name the host still, and models that nobody serves any more."""
        return mentions(self.options.inventory, self.host.name)

    def require_answer(self, planned: Plan) -> None:
        """See that the host that goes could be looked at. Raises HostDoesNotAnswer."""
        for plan in planned.hosts:
            if plan.host == self.host.name and plan.error is not None:
                why = plan.error.sentence.format(**vars(plan.error))
                address = self.host.address
                raise HostDoesNotAnswer(where=plan.host, host=plan.host, address=address, why=why)

    def forget(self, emit: Emit) -> tuple[str, ...]:
        """Have everybody forget the host; the records of this controller that held it, in words."""
        from .controller_records import forget_host

        keepers = tuple(host.name for host in self.fleet.hosts[:REMEMBERING] if host.name != self.host.name)
        with open_fleet_session(self.fleet, keepers, None, emit) as session:
            session.each(lambda keeper: forget_on(keeper, self.host.name))
        forget(self.options.inventory, self.host.name)
        return forget_host(self.options.inventory, self.host)


def plan_removal(options: RunOptions, name: str, *, last: bool, is_dead: bool, emit: Emit) -> HostRemoval:
    """Return who has to be told, and what goes. Raises HostUnknown, LastOfGroup, LastReplica and errors of reading."""
    fleet = read(options, emit)
    declared = any(host.name == name for host in fleet.hosts)
    host = fleet.host(name) if declared else _remembered_host(options, fleet, name, emit)
    rest = without(fleet, name)
    gone: tuple[str, ...] = ()
    if declared:
        for group in NEEDED:
            if name in fleet.groups.get(group, ()) and not rest.groups.get(group):
                raise LastOfGroup(where=str(fleet.path), host=name, group=group)
        gone = _unserved_without(fleet, rest, name)
        if gone and not last:
            raise _last_replica(fleet, name, gone)
        for project in gone:
            rest = unserved(rest, project)
    leaving = FleetHost(name, ("all",), {**_rest_variables(rest, host), LEAVES: True})
    others = (*rest.groups.get("gateway", ()), *rest.groups.get("dify", ())[:1])
    names = tuple(dict.fromkeys(others if is_dead else (*others, name)))
    return HostRemoval(options, fleet, beside(rest, leaving), leaving, declared, is_dead, names, gone)


def _rest_variables(rest: Fleet, host: FleetHost) -> dict[str, object]:
    """The host's own variables, with the models as the rest of the site has them."""
    models = {key: rest.hosts[0].variables[key] for key in ("models",) if key in rest.hosts[0].variables}
    return {**host.variables, **models}


def _remembered_host(options: RunOptions, fleet: Fleet, name: str, emit: Emit) -> FleetHost:
    """A host that is declared no more, as this controller or the fleet remembers it. Raises HostUnknown."""
    hosts = remembered(options.inventory)
    if name not in hosts:
        hosts = {**hosts, **_remembered_by_fleet(fleet, emit)}
    if name not in hosts:
        allowed = [host.name for host in fleet.hosts]
        nearest = nearest_key(name, [*allowed, *hosts])
        raise HostUnknown(where=str(fleet.path), host=name, nearest=nearest, allowed=", ".join(allowed))
    return as_declared(name, hosts[name], fleet.hosts[0])


def _remembered_by_fleet(fleet: Fleet, emit: Emit) -> Remembered:
    hosts: Remembered = {}
    names = tuple(host.name for host in fleet.hosts[:REMEMBERING])
    with open_fleet_session(fleet, names, None, emit) as session:

        def ask(host: object) -> None:
            with suppress(HostError):
                answer = call_helper(host, Remains, "remains")  # type: ignore[arg-type]  # pyinfra's host
                hosts.update(answer.hosts if answer is not None else {})

        session.each(ask)
    return hosts


def _unserved_without(fleet: Fleet, rest: Fleet, name: str) -> tuple[str, ...]:
    """Models whose last host is the one that goes: nobody would serve them, or store them."""
    gone = []
    for project, model in site_of(fleet).models.items():
        patterns = [model.serve.hosts] if model.serve is not None else [model.hosts] if model.hosts else []
        before = {host for pattern in patterns for host in Limit(pattern).select(fleet)}
        if before == {name}:
            gone.append(project)
    return tuple(gone)


def _last_replica(fleet: Fleet, name: str, gone: tuple[str, ...]) -> SteelyardError:
    site = site_of(fleet)
    names = [f"alias `{alias}`" if (alias := site.models[project].alias) else f"model `{project}`" for project in gone]
    where = locate(fleet.path, None, ("models", gone[0], "serve", "hosts"))
    return LastReplica(where=where, host=name, aliases=", ".join(names))
