"""Live checks of Dify, which drift makes beside the tasks: unsafe defaults that live, keys that are gone, backups
that are old.
"""

from __future__ import annotations

from pyinfra.context import host

from steelyard.api import live_check
from steelyard.api.finding import Severity
from steelyard.modules.facts.helper import helper_fact
from steelyard.modules.operations.dify_stack import stack_state
from steelyard_host.wire.dify import BackupList

from .settings import Settings

TELLS_HOURS = 50  # two nights


def check_stack(wanted: Settings) -> None:
    """Check the stack as it runs."""
    current = stack_state(wanted.folder)
    for key in current.env.unsafe:
        fix = "`steelyard dify secrets` makes a value of your own, `steelyard apply` puts it in place"
        live_check.report(
            "dify.unsafe-default", f"{wanted.folder}/.env {key}", "a value of this site", "the one everybody knows", fix
        )
    for address in current.open:
        fix = "`steelyard apply` binds it to 127.0.0.1"
        live_check.report("dify.debug-port", f"port {address}", "on 127.0.0.1 only", "open to the network", fix)
    for tenant in current.keyless:
        live, fix = "gone, or another's", "look for it in a backup before anything else: `steelyard dify backups`"
        live_check.report("dify.private-key", f"private key of workspace {tenant}", "there", live, fix)
    for key in current.env.unknown:
        live, fix = "unknown to this release", "remove it from .env, or declare it in `dify.env`"
        live_check.report(
            "dify.env-unknown", f"{wanted.folder}/.env {key}", "a key of the release", live, fix, Severity.WARNING
        )
    for old, new in current.env.renamed.items():
        live = f"the release calls it {new}" if new else "the release does not have it any more"
        live_check.report(
            "dify.env-renamed",
            f"{wanted.folder}/.env {old}",
            "a key of the release",
            live,
            "remove it",
            Severity.WARNING,
        )
    if wanted.backups.at is not None:
        _check_backups(wanted)


def _check_backups(wanted: Settings) -> None:
    import time

    listed = helper_fact(host, BackupList, "dify-backups", wanted.backups.folder) or BackupList()
    newest = max((backup.at for backup in listed.backups), default=None)
    if newest is not None and time.time() - newest > TELLS_HOURS * 3600:
        live = f"the newest is {int((time.time() - newest) / 3600)} hours old"
        fix = "`journalctl -u steelyard-dify-backup` says why; `steelyard dify backup` makes one"
        live_check.report("dify.backup", wanted.backups.folder, "a backup a day", live, fix)
