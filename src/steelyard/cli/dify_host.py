"""`steelyard dify backup|backups|verify|restore|upgrade`: what the Dify host does itself, asked for from here."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steelyard.errors import ConfirmationImpossible, Exit
from steelyard.events import BytesMoved

from .options import INVENTORY, InventoryPath, Json, NoColor, Quiet, VaultPasswordFile, Yes

if TYPE_CHECKING:
    from steelyard.inventory.fleet import Fleet
    from steelyard.render.screen import Screen

    from .work import Wanted

UNIT = "steelyard-dify-work"
SILENT_S = 600  # that a host may be away while it works
Archive = Annotated[str, typer.Argument(metavar="ARCHIVE", help="Path of the archive on the Dify host, as `backups` names it.")]


class DifyHost:
    """The connected Dify host; answers of its helper, refusals as errors of ours."""

    def __init__(self, host: Any) -> None:
        self.host, self.name = host, str(host.name)

    def ask(self, *words: str, seconds: float = 120, unit: str = "", wait: bool = True) -> dict[str, Any]:
        """Raises DifyHostRefused with the helper's sentence, and HostProblem where the connection breaks."""
        from steelyard.errors import DifyHostRefused, HelperRefused
        from steelyard.modules.connectors.ask import ask
        from steelyard.problem import HostProblem

        try:
            found = ask(self.host, *words, seconds=seconds, unit=unit, wait=wait)
        except HostProblem as problem:
            if isinstance(problem.error, HelperRefused):
                raise DifyHostRefused(where=self.name, why=problem.error.why) from problem
            raise problem.error from problem
        if found is None and wait:
            why = "its helper does not know Dify; `steelyard apply` brings it up to date"
            raise DifyHostRefused(where=self.name, why=why)
        return found or {}

    def patiently(self, *words: str) -> dict[str, Any]:
        """What a question answers while work goes on: a connection that broke is made anew, for ten minutes. Raises as `ask` does."""
        import gevent

        from steelyard.errors import DifyHostRefused, SteelyardError
        from steelyard.problem import HostProblem

        end, lost = time.monotonic() + SILENT_S, False
        while True:
            try:
                if lost:
                    self.host.connector.again()
                return self.ask(*words)
            except DifyHostRefused:
                raise
            except (SteelyardError, HostProblem):
                if time.monotonic() > end:
                    raise
            lost = True
            gevent.sleep(2)

    def work(self, screen: Screen, *words: str) -> dict[str, Any]:
        """Long work in a unit of its own, shown as it goes on. Raises DifyHostRefused with the helper's sentence."""
        import gevent

        from steelyard.errors import DifyHostRefused

        if self.ask("dify-doing", UNIT)["active"]:  # a helper that is too old says so here
            raise DifyHostRefused(where=self.name, why=f"other work on Dify goes on there: `systemctl status {UNIT}`")
        number = secrets.token_hex(6)
        self.ask("dify-work", number, *words, unit=UNIT, wait=False)
        while True:
            gevent.sleep(1)
            told = self.patiently("dify-doing", UNIT)
            self.show(screen, told["doing"])
            ended = told["ended"] or {}
            if ended.get("number") == number and not told["active"]:  # the next work needs the unit's name
                if "why" in ended:
                    raise DifyHostRefused(where=self.name, why=ended["why"])
                found: dict[str, Any] = ended["answer"]
                return found
            if not told["active"]:
                raise DifyHostRefused(where=self.name, why=f"its work did not come to its end: `journalctl -u {UNIT}`")

    def show(self, screen: Screen, doing: dict[str, Any] | None) -> None:
        if doing is not None:
            screen.event(BytesMoved(self.name, doing["what"], doing["done"], doing["total"]))


def _wanted(inventory: Path, vault_password_file: Path | None, deploy: str | None = None) -> Wanted:
    from .work import Wanted

    return Wanted(inventory, "dify", vault_password_file, deploy)


@contextmanager
def _connected(wanted: Wanted, screen: Screen) -> Iterator[tuple[Fleet, DifyHost]]:
    """The first host of group `dify`. Raises every error of reading, LimitMatchedNoHost, and the host's own."""
    from .work import session

    with session(wanted, screen) as (fleet, opened):
        found: list[Any] = []
        opened.each(found.append)
        if opened.errors:
            raise next(iter(opened.errors.values()))
        first = fleet.groups["dify"][0]
        yield fleet, DifyHost(next(host for host in found if host.name == first))


@contextmanager
def _alone(wanted: Wanted, fleet: Fleet, screen: Screen, doing: str) -> Iterator[None]:
    """With the fleet's lock. Raises FleetLocked."""
    from steelyard.engine.lock import locked
    from steelyard.origin import Origin

    from .work import keeper

    origin = Origin.here(doing)
    with keeper(wanted, fleet, screen) as kept:
        kept.connect()
        with locked(kept, origin, screen.error):
            yield


def backup(
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    prove: Annotated[
        bool, typer.Option("--prove", help="Restore it into scratch databases as well, and count their tables.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Make one verified archive on the Dify host: both databases, volumes with the private keys, `.env`, Compose files.

    Dify keeps running. Exit 0: it is there, every byte read again. 3: there is none, and why; those before are untouched.
    """
    from steelyard.render.dify import show_done
    from steelyard.render.models import gib
    from steelyard.render.screen import Screen

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with _connected(_wanted(inventory, vault_password_file), screen) as (_, dify):
        made = dify.work(screen, "dify-backup", "asked for")
        if prove:
            made["tables"] = dify.work(screen, "dify-prove", made["archive"])["tables"]
    made["dify"] = made.pop("version")
    shown = f"{made['archive']}, Dify {made['dify']}, {made['files']} files, {gib(made['bytes'])}, every byte read again"
    shown += f"; restored into scratch databases: {made['tables']}" if prove else ""
    show_done(screen, "dify backup", dify.name, made, shown)
    return Exit.DONE


def backups(
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """List the archives on the Dify host, oldest first. Reads only."""
    from steelyard.render.dify import show_backups
    from steelyard.render.screen import Screen
    from steelyard.roles.dify import dify_settings

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with _connected(_wanted(inventory, vault_password_file), screen) as (fleet, dify):
        found = dify.ask("dify-backups", dify_settings(fleet).backups.folder)["backups"]
    show_backups(screen, dify.name, found)
    return Exit.DONE


def verify(
    archive: Archive,
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Read every byte of an archive against the list in it. Exit 0: whole. 3: half written or damaged, and where."""
    from steelyard.render.dify import show_done
    from steelyard.render.screen import Screen

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with _connected(_wanted(inventory, vault_password_file), screen) as (_, dify):
        found = dify.work(screen, "dify-verify", archive)
    shown = {"archive": archive, "dify": found["version"], "made": found["made"], "files": len(found["files"])}
    show_done(
        screen, "dify verify", dify.name, shown, f"{archive} is whole: Dify {found['version']}, {len(found['files'])} files"
    )
    return Exit.DONE


def restore(
    archive: Archive,
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Bring the Dify host to an archive: an empty host, or one whose Dify is set aside and comes back if the archive fails.

    Exit 0: Dify answers from the archive. 3: it does not; what was there before runs again. 1: not confirmed.
    """
    from steelyard.render.dify import show_done
    from steelyard.render.screen import Screen

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    wanted = _wanted(inventory, vault_password_file)
    with _connected(wanted, screen) as (fleet, dify):
        listed = dify.work(screen, "dify-verify", archive)
        question = f"Replace Dify on {dify.name} by its state of {listed['made']} (Dify {listed['version']})?"
        if not _confirmed(screen, yes, "steelyard dify restore", question):
            return Exit.USAGE
        with _alone(wanted, fleet, screen, "dify restore"):
            found = dify.work(screen, "dify-restore", archive)
    found["dify"] = found.pop("version")
    shown = f"Dify {found['dify']} answers from {archive} after {found['seconds']} s; `steelyard apply` brings it to what is declared"
    show_done(screen, "dify restore", dify.name, found, shown)
    return Exit.DONE


def _confirmed(screen: Screen, yes: bool, where: str, question: str) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfirmationImpossible(where=where, changes="1")
    return screen.confirm(question)


def upgrade(
    inventory: InventoryPath = INVENTORY,
    vault_password_file: VaultPasswordFile = None,
    rehearsal: Annotated[
        bool, typer.Option("--rehearsal", help="Only stage, pull and rehearse: nothing that runs is touched.")
    ] = False,
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Move Dify to the release that is declared: stage, pull, rehearse on a copy of the last backup, back up, switch, check.

    From the switch on the host needs nobody, and what fails is restored from the backup made after the stop. Exit 0: the
    new release answers, with the outage measured. 3: refused or failed before anything stopped. 5: failed and restored.
    """
    from steelyard.render.dify import show_done
    from steelyard.render.screen import Screen

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    wanted = _wanted(inventory, vault_password_file, "dify_upgrade")
    with _connected(_wanted(inventory, vault_password_file), screen) as (fleet, dify):
        now, to = _moves(fleet, dify)
        if now == to:
            show_done(
                screen, "dify upgrade", dify.name, {"from": now, "to": to, "state": "none"}, f"Dify {now} runs, as declared"
            )
            return Exit.DONE
        _stage(wanted, screen)
        with _alone(_wanted(inventory, vault_password_file), fleet, screen, "dify upgrade"):
            screen.note(f"{dify.name}: Dify {to} is staged beside {now}")
            pulled = dify.work(screen, "dify-pull")
            screen.note(f"{dify.name}: its images are here after {pulled['seconds']} s")
            tried = dify.work(screen, "dify-rehearse")
            screen.note(f"{dify.name}: rehearsed on {tried['archive']} in {tried['seconds']} s")
            if rehearsal:
                show_done(
                    screen,
                    "dify upgrade",
                    dify.name,
                    {**tried, "state": "rehearsed"},
                    f"{now} to {to} was rehearsed; nothing was touched",
                )
                return Exit.DONE
            if not _confirmed(screen, yes, "steelyard dify upgrade", f"Stop Dify {now} on {dify.name} and bring up {to}?"):
                return Exit.USAGE
            told = _switched(dify, screen)
    return _ended(screen, dify, told)


def _moves(fleet: Fleet, dify: DifyHost) -> tuple[str, str]:
    """The release that runs and the declared one. Raises SettingMissing, DifyHostRefused."""
    from steelyard.errors import DifyHostRefused, SettingMissing
    from steelyard.roles.dify import dify_settings

    settings = dify_settings(fleet)
    if settings.release is None:
        raise SettingMissing(where=str(fleet.path), key="dify.release", allowed="the release to upgrade to")
    state = dify.ask("dify-state", settings.folder)
    if state["version"] is None:
        raise DifyHostRefused(where=dify.name, why="no Dify of ours runs here yet; `steelyard apply` installs it")
    if state["keyless"]:
        why = f"the private keys of workspaces {', '.join(state['keyless'])} are gone; no upgrade before they are found"
        raise DifyHostRefused(where=dify.name, why=why)
    return str(state["version"]), settings.release.version


def _stage(wanted: Wanted, screen: Screen) -> None:
    """The declared release into a folder beside the running one, by the role itself. Raises the host's error."""
    from steelyard.engine.converge import Pace, converge
    from steelyard.origin import Origin

    from .work import journal_of, keeper, session

    with session(wanted, screen) as (fleet, opened):
        planned = opened.look(keep=True)
        if planned.pending and not planned.errors:
            with keeper(wanted, fleet, screen) as kept:
                origin = Origin.here("dify upgrade: stage")
                converge(opened, kept, journal_of(wanted), Pace(), origin, screen.redactor.mask)
        if opened.errors:
            raise next(iter(opened.errors.values()))


def _switched(dify: DifyHost, screen: Screen) -> dict[str, Any]:
    """Start the switch in a unit of its own and tell its steps; a connection that breaks is made anew."""
    import gevent

    begun = dify.ask("dify-progress").get("begun")
    dify.ask("dify-switch", unit=UNIT, wait=False)
    shown = 0
    while True:
        told = dify.patiently("dify-progress")
        doing = told.pop("doing", None)
        if told.get("begun") != begun:
            for step in told["steps"][shown:]:
                screen.note(f"{dify.name}: {step['at']:6.1f} s  {step['step']}")
            shown = len(told["steps"])
            if told["state"] != "running":
                return told
            dify.show(screen, doing)
        gevent.sleep(1)


def _ended(screen: Screen, dify: DifyHost, told: dict[str, Any]) -> Exit:
    """Raises DifyUpgradeFailed, DifyHostRefused."""
    from steelyard.errors import DifyHostRefused, DifyUpgradeFailed
    from steelyard.render.dify import show_done

    old, new, archive = str(told["from"]), str(told["to"]), str(told.get("archive"))
    if told["state"] == "restored":
        raise DifyUpgradeFailed(where=dify.name, old=old, new=new, why=str(told.get("why")), archive=archive)
    if told["state"] != "done":
        why = f"neither {new} nor {old} answers: {told.get('why')}; the backup is {archive}"
        raise DifyHostRefused(where=dify.name, why=why)
    shown = f"Dify {new} answers; it was away for {told['outage']} s; the backup made in between is {archive}"
    show_done(screen, "dify upgrade", dify.name, told, shown)
    return Exit.DONE
