"""Failures of a run as a whole: its lock, its saved plan, its limit of failures, its exceptions."""

from __future__ import annotations

from .base import Exit, SteelyardError


class FleetLocked(SteelyardError):
    """Another run changes this fleet now."""

    sentence = "the fleet is locked by {who} from {origin} since {since} for `{doing}`; the lock ends at {until}"
    fix = "wait for it; if that run is gone: `steelyard lock break -i {inventory!q}`"
    sample = {
        "where": "mirror-1",
        "who": "anna",
        "origin": "ops-2 (pid 4711)",
        "since": "2026-11-22T09:00:00Z",
        "doing": "apply site",
        "until": "2026-11-22T09:10:00Z",
        "inventory": "inventories/site",
    }
    exit = Exit.HOST_FAILED
    who: str
    origin: str
    since: str
    doing: str
    until: str
    inventory: str


class LockLost(SteelyardError):
    """The lock of a running apply was broken or taken over."""

    sentence = "the lock of the fleet was taken away while this run held it; nothing further was begun"
    fix = "see who broke it (`steelyard lock show`), then `steelyard apply --resume`"
    sample = {"where": "mirror-1"}
    exit = Exit.HOST_FAILED


class LockLapsed(SteelyardError):
    """The keepers of a running apply's lock were silent for so long that another run may have it now."""

    sentence = "too few keepers of the fleet's lock have renewed it for {seconds} s; nothing further was begun"
    fix = "see that these hosts answer (`steelyard lock show`), then `steelyard apply --resume`"
    sample = {"where": "mirror-1, gpu-1", "seconds": "540"}
    exit = Exit.HOST_FAILED
    seconds: str


class LockUnreadable(SteelyardError):
    """A lock on a host cannot be read, so nobody knows whether a run holds it."""

    sentence = "on {keepers} lies a lock that cannot be read, so somebody may hold it"
    fix = "see that no run is at this fleet, then `steelyard lock break -i {inventory!q}`"
    sample = {"where": "mirror-1", "keepers": "mirror-1", "inventory": "inventories/site"}
    exit = Exit.HOST_FAILED
    keepers: str
    inventory: str


class KeepersSilent(SteelyardError):
    """Too few hosts that keep the fleet's lock could give it."""

    sentence = "the fleet's lock needs {needed} of its {total} keepers, and {silent} gave no answer: {why}"
    fix = "see that these hosts answer and that root can write /var/lib/steelyard there, then try again"
    sample = {
        "where": "mirror-1",
        "silent": "mirror-1, gpu-1",
        "total": "3",
        "needed": "2",
        "why": "no route to host",
    }
    exit = Exit.HOST_FAILED
    silent: str
    total: str
    needed: str
    why: str


class TooManyFailed(SteelyardError):
    """`--max-fail` was exceeded: what had not begun was not begun."""

    sentence = "{failed} of {total} hosts failed or were unreachable, and {allowed} may; {skipped} were not tried"
    fix = "mend them, then `steelyard apply --resume`"
    sample = {"where": "--max-fail", "failed": "3", "total": "40", "allowed": "2", "skipped": "30"}
    exit = Exit.HOST_FAILED
    failed: str
    total: str
    allowed: str
    skipped: str


class PlanFileWrong(SteelyardError):
    """The file given to `apply` is not a plan of ours, or a torn one."""

    sentence = "not a plan that `steelyard plan -o` wrote: {why}"
    fix = "make a new one: `steelyard plan -o {where!q}`"
    sample = {"where": "site.plan", "why": "not JSON"}
    why: str


class PlanMoved(SteelyardError):
    """The changes that apply would make now are not those of the saved plan. Nothing was changed."""

    sentence = "what would change now is not what was planned ({differences}); nothing was changed"
    fix = "look at the difference above, then make a new plan: `steelyard plan {options} -o {where!q}`"
    sample = {
        "where": "site.plan",
        "differences": "1 host differs: gw-1",
        "options": "-i inventories/site -l all --deploy site",
    }
    differences: str
    options: str  # the plan's own


class NothingToResume(SteelyardError):
    """`--resume` without an earlier apply of this deploy to this fleet."""

    sentence = "there is no earlier apply of `{deploy}` to this fleet from this machine"
    fix = "run `steelyard apply` without `--resume`"
    sample = {"where": "inventories/site", "deploy": "site"}
    deploy: str


class ExceptionWrong(SteelyardError):
    """An entry of drift-exceptions.yml cannot be used."""

    sentence = "{why}"
    fix = "each entry has `id`, `reason`, `owner` and `expires` (a date, 2027-01-31)"
    sample = {"where": "drift-exceptions.yml:3", "why": "entry 1 has no `owner`"}
    why: str


class ReportUnknown(SteelyardError):
    """`--report` names a format that is not there."""

    sentence = "`{found}` is no report format; there are {allowed}"
    fix = "write `--report {nearest}` or `--report {nearest}:FILE`"
    sample = {
        "where": "--report",
        "found": "sarf",
        "allowed": "github, gitlab, junit, markdown, sarif",
        "nearest": "sarif",
    }
    found: str
    allowed: str
    nearest: str


class FileNotWritten(SteelyardError):
    """A file that the user asked for cannot be written."""

    sentence = "cannot write: {why}"
    fix = "give a path that can be written"
    sample = {"where": "/nowhere/site.plan", "why": "No such file or directory"}
    why: str


class PathUnusable(SteelyardError):
    """The system refused a file or folder that a command was told of, or the place where it keeps things."""

    sentence = "cannot be used: {why}"
    fix = (
        "give a path that you may read and write and that has room, or set that right: `ls -ld -- {there!q}` "
        "shows its rights"
    )
    sample = {"where": "/srv/wheels", "why": "Read-only file system", "there": "/srv"}
    why: str
    there: str


class FolderThere(SteelyardError):
    """The folder to write is there already, and a new one is needed; nothing was written."""

    sentence = "the folder is there already; nothing was written"
    fix = "name one that is not there"
    sample = {"where": "exports/tiny-v1"}
