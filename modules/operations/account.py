"""System accounts as declared."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Refusal
from steelyard.api.foreseen import foreseen
from steelyard.modules.facts.account import Account, AccountState


def account_commands(user: str, home: str, groups: tuple[str, ...], current: AccountState) -> list[StringCommand]:
    """Commands that make or mend a system account without login."""
    subject = f"account {user}"
    if not current.exists:
        extra = ["--groups", QuoteString(",".join(groups))] if groups else []
        bits = [
            "useradd --system --user-group --no-create-home --shell /usr/sbin/nologin --home-dir",
            QuoteString(home),
        ]
        return [Change(*bits, *extra, QuoteString(user), subject=subject, declared="exists", live="missing")]
    lacking = [group for group in groups if group not in current.groups]
    commands: list[StringCommand] = []
    if lacking:
        bits = ["usermod --append --groups", QuoteString(",".join(lacking)), QuoteString(user)]
        commands.append(Change(*bits, subject=subject, declared="in " + ",".join(lacking), live="not in it"))
    if current.shell != "/usr/sbin/nologin":
        bits = ["usermod --shell /usr/sbin/nologin", QuoteString(user)]
        commands.append(Change(*bits, subject=subject, declared="no login", live=f"shell {current.shell}"))
    return commands


def somebody_elses(user: str, home: str, current: AccountState) -> Refusal | None:
    """Return why an account of the name is not ours to use: it was made for something else. None where it is."""
    if not current.exists or current.home == home:
        return None
    return Refusal(
        f"account {user} is somebody else's: its home is {current.home}, and that of the account to be made is {home}; "
        f"rename it (`usermod --login OTHER {user}`) or the service (its `alias`), and apply again"
    )


@foreseen
@operation()
def own_account(user: str, home: str) -> Generator[StringCommand, None, None]:
    """The account exists, cannot log in, and was made for this: one of that name with another home is refused."""
    current = host.get_fact(Account, user=user)
    refusal = somebody_elses(user, home, current)
    if refusal is not None:
        yield refusal
        return
    commands = account_commands(user, home, (), current)
    if not commands:
        host.noop(f"{user} is there")
    yield from commands


@foreseen
@operation()
def system_account(
    user: str, home: str = "/nonexistent", groups: tuple[str, ...] = ()
) -> Generator[StringCommand, None, None]:
    """The account exists, cannot log in, and is in these groups."""
    yield from account_commands(user, home, groups, host.get_fact(Account, user=user))
