"""`steelyard inventory`: what an inventory says, as we read it."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.errors import Exit, UsageWrong

from .options import INVENTORY, InventoryPath, VaultPasswordFile

if TYPE_CHECKING:
    from steelyard.inventory.fleet import Fleet, Keys

IMPLICIT = ("all", "ungrouped")  # groups that every inventory has


def inventory(
    named: InventoryPath = INVENTORY,
    listed: Annotated[bool, typer.Option("--list", help="Everything, as `ansible-inventory --list` gives it.")] = False,
    value: Annotated[
        str | None,
        typer.Option("--value", metavar="KEY", help="One value by its keys with dots, as `gateway.clients.team-a`."),
    ] = None,
    vault_password_file: VaultPasswordFile = None,
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Vault values in the clear, as Ansible shows them.")
    ] = False,
) -> Exit:
    """Print hosts and groups. With `--list` all variables too, as JSON that `ansible-inventory --list` would print.

    With `--value` one value: text as it is, all else as JSON. Exit 1: no host has it, or not all who have it agree.
    """
    from steelyard.inventory.layers import joined
    from steelyard.inventory.listing import listing, masked
    from steelyard.inventory.read import read_fleet
    from steelyard.render.redaction import Redactor
    from steelyard.site.validation import declared_secrets

    fleet = read_fleet(joined(named), vault_password_file)
    if value is not None:
        chosen, hidden = _value(fleet, value)
        if not show_secrets:
            chosen = masked(chosen, tuple(value.split(".")), hidden)
        text = chosen if isinstance(chosen, str) else _as_json(chosen)
    elif listed:
        text = _as_json(listing(fleet, show_secrets=show_secrets))
    else:
        text = "\n".join(
            f"{host.name}  {host.address}  {', '.join(name for name in host.groups if name not in IMPLICIT)}"
            for host in fleet.hosts
        )
    secrets = fleet.secrets | declared_secrets(fleet)
    print(text if show_secrets else Redactor(secrets).mask(text))
    return Exit.DONE


def _as_json(value: object) -> str:
    return jsonlib.dumps(value, indent=4, sort_keys=True, ensure_ascii=False)


def _value(fleet: Fleet, dotted: str) -> tuple[object, frozenset[Keys]]:
    """The value under keys with dots, the same for all hosts that have it, and what a vault hides of it. Templates are
    evaluated, of variables that nobody reads here too. Raises UsageWrong, and why a template cannot be.
    """
    by_host: dict[str, object] = {}
    hidden: frozenset[Keys] = frozenset()
    first, *keys = dotted.split(".")
    for host in fleet.hosts:
        if first in host.unresolved:
            raise host.unresolved[first]
        resolved = fleet.resolve(host.name, first) if first in host.templates else None
        current: object = resolved.value if resolved is not None else host.variables.get(first)
        hidden |= resolved.hidden if resolved is not None else host.hidden
        for key in keys:
            current = current.get(key) if isinstance(current, dict) else None
        if current is not None:
            by_host[host.name] = current
    values = list(by_host.values())
    if not values:
        raise UsageWrong(where="steelyard inventory", why=f"no host of {fleet.path} has `{dotted}`")
    if any(other != values[0] for other in values):
        why = f"`{dotted}` is not the same for {', '.join(by_host)}: `--list` shows each"
        raise UsageWrong(where="steelyard inventory", why=why)
    return values[0], hidden
