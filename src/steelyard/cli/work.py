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

if TYPE_CHECKING:
    from steelyard.engine.session import Session


@dataclass(frozen=True)
class Wanted:
    """The shared options of one call."""

    inventory: Path
    limit: str
    vault_password_file: Path | None = None
    deploy: str | None = "site"


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


@contextmanager
def session(wanted: Wanted, screen: Screen) -> Iterator[tuple[Fleet, Session]]:
    """A connected session over the selected hosts. Raises every error of reading before the first connection."""
    from steelyard.engine import patched  # noqa: F401  before paramiko and ansible
    from steelyard.inventory.read import read_fleet
    from steelyard.settings import check_settings, declared_secrets
    from steelyard.site import site_of

    deploy = deploy_path(wanted.deploy) if wanted.deploy else None
    fleet = read_fleet(wanted.inventory, wanted.vault_password_file)
    names = Limit(wanted.limit).select(fleet)
    screen.redactor = Redactor(fleet.secrets | declared_secrets(fleet))
    wrong: list[SteelyardError] = check_settings(fleet)
    if wrong:
        for error in wrong[1:]:
            screen.error(error)
        raise wrong[0]
    site = site_of(fleet)
    from steelyard.engine.session import Session
    from steelyard.modules.connectors.ssh import SteelyardConnector

    with Session(fleet, site, names, deploy, SteelyardConnector, screen.event) as opened:
        opened.connect()
        yield fleet, opened
