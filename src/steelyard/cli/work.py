"""What plan, apply, drift and status begin with: read, check, select, connect. Nothing is touched before all is checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.errors import DeployMissing, SteelyardError
from steelyard.inventory.fleet import Fleet
from steelyard.inventory.limit import Limit
from steelyard.render.redaction import Redactor
from steelyard.render.screen import Screen
from steelyard.render.text import hosts_named

if TYPE_CHECKING:
    from steelyard.engine.journal import Journal
    from steelyard.engine.lock import Keeper
    from steelyard.engine.quick import Later
    from steelyard.engine.session import Session
    from steelyard.site import Site

KEEPERS = 5  # hosts that may keep the lock, in this order


@dataclass(frozen=True)
class Wanted:
    """The shared options of one call. `resume`: only what the last apply left; `checking`: live checks too."""

    inventory: Path
    limit: str = "all"
    vault_password_file: Path | None = None
    deploy: str | None = "site"
    resume: bool = False
    checking: bool = False


def deploy_folder() -> Path:
    """Where the deploy files lie; the one place that looks for them."""
    import steelyard.deploy

    return Path(next(iter(steelyard.deploy.__path__))).resolve()


def deploy_path(name: str) -> Path:
    """A deploy by name (in the package) or by path. Raises DeployMissing."""
    folder = deploy_folder()
    named = folder / f"{name}.py"
    path = named if named.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__"))
        raise DeployMissing(where=name, allowed=known)
    return path.resolve()


def read(wanted: Wanted, screen: Screen) -> Fleet:
    """The fleet, its settings checked, its secrets masked from here on. Raises every error of reading."""
    from steelyard.engine import patched  # noqa: F401  before paramiko and ansible
    from steelyard.inventory.checked import SecretFields, checked
    from steelyard.inventory.read import read_fleet

    def check(fleet: Fleet) -> SecretFields:
        from steelyard.settings import check_settings, declared_secrets, secret_fields
        from steelyard.site import site_of

        screen.redactor = Redactor(fleet.secrets | declared_secrets(fleet))
        wrong: list[SteelyardError] = check_settings(fleet)
        if wrong:
            for error in wrong[1:]:
                screen.error(error)
            raise wrong[0]
        site_of(fleet)
        return secret_fields()

    fleet = read_fleet(wanted.inventory, wanted.vault_password_file)
    screen.redactor = Redactor(fleet.secrets | checked(fleet, _model_files(), check))
    return fleet


def _model_files() -> tuple[Path, ...]:
    """Where the models lie that settings and models.yml are checked against; found without loading them."""
    import steelyard
    import steelyard.roles

    here = Path(steelyard.__file__).parent
    roles = [path for folder in steelyard.roles.__path__ for path in sorted(Path(folder).glob("*/settings.py"))]
    return (here / "settings.py", here / "site.py", *roles)


def _site(fleet: Fleet) -> Later[Site]:
    """Resolved when a role asks for it; that it can be was checked before."""
    from steelyard.engine.quick import Later

    def resolve() -> Site:
        from steelyard.site import site_of

        return site_of(fleet)

    return Later(resolve)


@contextmanager
def session(wanted: Wanted, screen: Screen) -> Iterator[tuple[Fleet, Session]]:
    """A session over the selected hosts, nothing connected yet. Raises every error of reading."""
    deploy = deploy_path(wanted.deploy) if wanted.deploy else None
    fleet = read(wanted, screen)
    names = Limit(wanted.limit).select(fleet)
    from steelyard.engine.session import Session
    from steelyard.modules.connectors.ssh import SteelyardConnector

    if wanted.resume:
        left = set(journal_of(wanted).left())
        names = tuple(name for name in names if name in left)
        screen.note(f"resuming on {hosts_named(names) if names else 'no host: the last apply left none'}")
    with Session(fleet, _site(fleet), names, deploy, SteelyardConnector, screen.event, wanted.checking) as opened:
        yield fleet, opened


@contextmanager
def keeper(wanted: Wanted, fleet: Fleet, screen: Screen, alias: str | None = None) -> Iterator[Keeper]:
    """Whoever keeps the fleet's lock, or that of a rollout of `alias`, not connected yet: one of its first hosts."""
    from steelyard.engine.lock import Keeper
    from steelyard.engine.session import Session
    from steelyard.modules.connectors.ssh import SteelyardConnector

    names = tuple(host.name for host in fleet.hosts[:KEEPERS])
    with Session(fleet, _site(fleet), names, None, SteelyardConnector, screen.event) as opened:
        yield Keeper(opened, str(wanted.inventory), alias=alias)


def journal_of(wanted: Wanted) -> Journal:
    """Of the last apply of this deploy to this inventory."""
    from steelyard.engine.journal import Journal

    return Journal(wanted.inventory, deploy_path(wanted.deploy or "site"))
