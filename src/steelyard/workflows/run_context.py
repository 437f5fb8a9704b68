"""The beginning of commands on hosts: read, check, select, connect. No host is talked to before everything is checked.

Use cases get values and an emitter. What a person has to see of reading (secrets to mask, advice, errors beside the
first one) goes through the emitter too, so they run without a terminal as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.errors import DeployMissing
from steelyard.events import Advised, Emit, ErrorReported, Resuming, SecretsKnown
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.inventory.limit import Limit

if TYPE_CHECKING:
    from steelyard.api.advice import Advice
    from steelyard.engine.journal import ApplyJournal
    from steelyard.engine.lock import FleetLock
    from steelyard.engine.plan import Plan
    from steelyard.engine.pyinfra_fast import Lazy
    from steelyard.engine.session import Session
    from steelyard.site.site import Site

# what is asked of hosts that only have to know what others serve; the ground, because it brings their helper up to date
TOLD = frozenset(["base", "gateway", "dify"])
EVERYTHING = "all"  # the limit that is none


@dataclass(frozen=True)
class RunOptions:
    """The common options of one call.

    `deploy`: name or path of a deploy file; None where hosts are only asked. `resume`: only hosts that the last apply
    left. `checking`: live checks too; `pruning`: what outlives its declaration goes too. `connecting`: hosts are asked,
    so nothing may be left to be filled in. `with_gateway`: gateways and Dify are told, whatever the limit leaves out.
    """

    inventory: Path
    limit: str = EVERYTHING
    vault_password_file: Path | None = None
    deploy: str | None = None
    resume: bool = False
    checking: bool = False
    pruning: bool = False
    with_gateway: bool = False
    connecting: bool = True


def deploy_folder() -> Path:
    """Folder of the deploy files; this is the one place that looks for them."""
    import steelyard.deploy

    return Path(next(iter(steelyard.deploy.__path__))).resolve()


def deploy_path(name: str) -> Path:
    """Path of a deploy, given by name (in the package) or by path. Raises DeployMissing."""
    folder = deploy_folder()
    named = folder / f"{name}.py"
    path = named if named.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__"))
        raise DeployMissing(where=name, allowed=known)
    return path.resolve()


def read(options: RunOptions, emit: Emit) -> Fleet:
    """The fleet, its settings checked; its secrets are known to the emitter from here on.

    Raises every error of reading; where several settings are wrong, the first, and the others are reported.
    """
    return _read(options, emit)[0]


def _read(options: RunOptions, emit: Emit) -> tuple[Fleet, tuple[Advice, ...]]:
    """The fleet, and advice on all its hosts."""
    from steelyard.engine import gevent_patch  # noqa: F401  before paramiko and ansible
    from steelyard.interrupts.signals import HANDLER
    from steelyard.inventory.placeholders import placeholders, refuse
    from steelyard.inventory.read import read_fleet
    from steelyard.inventory.validation_cache import Checked, checked, secrets_in

    HANDLER.attach_to_hub()

    def check(fleet: Fleet) -> Checked:
        from steelyard.inventory.split_sections import split_sections
        from steelyard.site.resolve import site_of
        from steelyard.site.secret_values import secret_advice, wrong_secrets
        from steelyard.site.validation import check_settings, declared_secrets, role_settings, secret_fields

        emit(SecretsKnown(fleet.secrets | declared_secrets(fleet)))
        left = placeholders(fleet, role_settings())
        if options.connecting:
            refuse(fleet, left)
        if all(host.unresolved for host in fleet.hosts):
            raise next(host.error for host in fleet.hosts if host.error is not None)
        fields = secret_fields()
        wrong = [*check_settings(fleet), *(wrong_secrets(fleet, fields) if options.connecting else ())]
        for error in wrong[1:]:
            emit(ErrorReported(error))
        if wrong:
            raise wrong[0]
        site_of(fleet)
        advice = (*split_sections(fleet, (*role_settings(), "models")), *secret_advice(fleet, fields))
        return Checked(fields, advice, complete=options.connecting and not left)

    fleet = read_fleet(options.inventory, options.vault_password_file)
    verdict = checked(fleet, _model_files(), check)
    emit(SecretsKnown(fleet.secrets | secrets_in(fleet, verdict.fields)))
    return fleet, verdict.advice


def _model_files() -> tuple[Path, ...]:
    """Files of the models that settings and models.yml are checked against; found without loading them."""
    import steelyard
    import steelyard.roles

    here = Path(steelyard.__file__).parent
    roles = [path for folder in steelyard.roles.__path__ for path in sorted(Path(folder).glob("*/settings.py"))]
    return (here / "api" / "settings.py", *sorted((here / "site").glob("*.py")), *roles)


def site_when_asked(fleet: Fleet, emit: Emit) -> Lazy[Site]:
    """The site, resolved when a role asks for it; that it can be resolved was checked before.

    From there on keys of services are known, which no inventory has: they are secrets as that which they are made of.
    """
    from steelyard.engine.pyinfra_fast import Lazy

    def resolve() -> Site:
        from steelyard.serving.service_keys import service_key
        from steelyard.site.resolve import site_of

        site = site_of(fleet)
        keys = {key for host in fleet.hosts if (key := _engine_key(host))}
        names = {service.name for service in site.services}
        emit(SecretsKnown(frozenset(service_key(key, name) for key in keys for name in names)))
        return site

    return Lazy(resolve)


def _engine_key(host: FleetHost) -> str:
    section = host.variables.get("vllm")
    return str(section.get("api_key") or "") if isinstance(section, dict) else ""


@contextmanager
def open_session(options: RunOptions, emit: Emit) -> Iterator[tuple[Fleet, Session]]:
    """A session over the selected hosts, nothing connected yet. Raises every error of reading."""
    deploy = deploy_path(options.deploy) if options.deploy else None
    fleet, advice = _read(options, emit)
    names = Limit(options.limit).select(fleet)
    emit(Advised(tuple(entry for entry in advice if entry.host in names)))
    from steelyard.engine.session import Session
    from steelyard.modules.connectors.ssh import SteelyardConnector

    if options.resume:
        left = set(journal_of(options).left())
        names = tuple(name for name in names if name in left)
        emit(Resuming(names))
    beside = told_beside(fleet, names) if options.with_gateway else ()
    roles_of = dict.fromkeys(beside, TOLD)
    names = tuple(host.name for host in fleet.hosts if host.name in {*names, *beside})
    looks = (options.checking, options.pruning, roles_of)
    with Session(fleet, site_when_asked(fleet, emit), names, deploy, SteelyardConnector, emit, *looks) as session:
        yield fleet, session


def told_beside(fleet: Fleet, names: Collection[str]) -> tuple[str, ...]:
    """Hosts beside those of a run that have to know of what changes there: gateways, and the one that registers."""
    others = (*fleet.groups.get("gateway", ()), *fleet.groups.get("dify", ())[:1])
    return tuple(name for name in dict.fromkeys(others) if name not in names) if names else ()


@contextmanager
def open_fleet_session(fleet: Fleet, names: tuple[str, ...], deploy: Path | None, emit: Emit) -> Iterator[Session]:
    """A session over hosts of a fleet that was read before, as it is or with a change; nothing connected yet."""
    from steelyard.engine.session import Session
    from steelyard.modules.connectors.ssh import SteelyardConnector

    with Session(fleet, site_when_asked(fleet, emit), names, deploy, SteelyardConnector, emit) as session:
        yield session


def advice_of_left_out(options: RunOptions, fleet: Fleet, planned: Plan) -> list[Advice]:
    """Advice where the limit leaves out who has to know of the planned changes."""
    if options.limit == EVERYTHING or options.with_gateway or not planned.changes:
        return []
    from steelyard.roles.gateway.advice import left_out
    from steelyard.site.resolve import site_of

    changed = {host.host: {task.code for task in host.tasks} for host in planned.hosts}
    return list(left_out(site_of(fleet), options.limit, tuple(changed), changed))


@contextmanager
def fleet_lock(options: RunOptions, fleet: Fleet, emit: Emit, alias: str | None = None) -> Iterator[FleetLock]:
    """The fleet's lock, or that of a rollout of `alias`, on the hosts of the fleet that keep it: not connected."""
    from steelyard.engine.lock import FleetLock
    from steelyard.engine.lock_members import keepers_of
    from steelyard.engine.session import Session
    from steelyard.modules.connectors.ssh import SteelyardConnector

    names = keepers_of([host.name for host in fleet.hosts])
    with Session(fleet, site_when_asked(fleet, emit), names, None, SteelyardConnector, emit) as session:
        yield FleetLock(session, str(options.inventory), alias=alias)


def journal_of(options: RunOptions) -> ApplyJournal:
    """The journal of the last apply of this deploy to this inventory."""
    from steelyard.engine.journal import ApplyJournal

    return ApplyJournal(options.inventory, deploy_path(options.deploy or "site"))
