"""What drift looks at beside the tasks: unsafe defaults that live, keys that are gone, backups that are old."""

from __future__ import annotations

from pyinfra.context import host

from steelyard.checks import report
from steelyard.finding import Severity
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.modules.operations.dify_stack import stack_state

from .settings import Settings

TELLS_HOURS = 50  # two nights


def check_stack(wanted: Settings) -> None:
    """Of the stack as it runs."""
    now = stack_state(wanted.folder)
    for key in now["env"]["unsafe"]:
        fix = "`steelyard dify secrets` makes a value of your own, `steelyard apply` puts it in place"
        report("dify.unsafe-default", f"{wanted.folder}/.env {key}", "a value of this site", "the one everybody knows", fix)
    for address in now["open"]:
        fix = "`steelyard apply` binds it to 127.0.0.1"
        report("dify.debug-port", f"port {address}", "on 127.0.0.1 only", "open to the network", fix)
    for tenant in now["keyless"]:
        live, fix = "gone, or another's", "look for it in a backup before anything else: `steelyard dify backups`"
        report("dify.private-key", f"private key of workspace {tenant}", "there", live, fix)
    for key in now["env"]["unknown"]:
        live, fix = "unknown to this release", "remove it from .env, or declare it in `dify.env`"
        report("dify.env-unknown", f"{wanted.folder}/.env {key}", "a key of the release", live, fix, Severity.WARNING)
    for old, new in now["env"]["renamed"].items():
        live = f"the release calls it {new}" if new else "the release does not have it any more"
        report("dify.env-renamed", f"{wanted.folder}/.env {old}", "a key of the release", live, "remove it", Severity.WARNING)
    if wanted.backups.at is not None:
        _check_backups(wanted)


def _check_backups(wanted: Settings) -> None:
    import time

    answer = host.get_fact(HelperAnswer, words=("dify-backups", wanted.backups.folder)) or {"backups": []}
    newest = max((each["at"] for each in answer["backups"]), default=None)
    if newest is not None and time.time() - newest > TELLS_HOURS * 3600:
        live = f"the newest is {int((time.time() - newest) / 3600)} hours old"
        fix = "`journalctl -u steelyard-dify-backup` says why; `steelyard dify backup` makes one"
        report("dify.backup", wanted.backups.folder, "a backup a day", live, fix)
