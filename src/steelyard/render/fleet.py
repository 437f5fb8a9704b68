"""Results of commands on a fleet: `status`, `lock`, `preflight`, `mirror images sync`, `lab status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from steelyard_host.wire.codec import to_json

from .documents import Errors, error_rows

if TYPE_CHECKING:
    from steelyard.engine.lock_quorum import HeldLock
    from steelyard.hardware.floor import Measure
    from steelyard.inventory.fleet import Fleet
    from steelyard.lab.fleet import LabHostStatus
    from steelyard.site.observed import Observed, ServiceRow

    from .screen import Screen


def show_status(
    screen: Screen, fleet: Fleet, observed: Observed, rows: Sequence[ServiceRow], errors: Errors, asked: Sequence[str]
) -> None:
    """Show tables of hosts, GPUs and services, open trials, and why services do not run.

    `asked`: the gateways that were asked; what each said is in `observed`.
    """
    if screen.json:
        screen.document("status", status_document(fleet, observed, rows, errors))
        return
    screen.shown(status_lines(screen, fleet, observed, rows, errors, asked))
    screen.failures()


def status_lines(
    screen: Screen,
    fleet: Fleet,
    observed: Observed,
    rows: Sequence[ServiceRow],
    errors: Errors,
    asked: Sequence[str],
    worst_first: bool = False,
) -> list[str]:
    """The same as lines that may be shown as they are."""
    from .services import engines_table, is_amiss, services_table, trial_lines
    from .tables import cause_lines, gpu_table, host_table

    statuses, answers = observed.hosts, bool(observed.gateways)
    if worst_first:
        rows = sorted(rows, key=lambda row: not is_amiss(row, answers))
    services = services_table(rows, datetime.now(UTC), asked=answers)
    details = (gpu_table(statuses), engines_table(rows)) if screen.verbose else ()
    lines = screen.table_lines(host_table(fleet, statuses, errors, worst_first), *details, services)
    silent = [name for name in asked if name not in observed.gateways]
    below: list[str] = []
    if silent:
        below = ["", f"no answer of HAProxy on {', '.join(silent)}: how it sees the services is unknown"]
    elif not asked and any(row.alias for row in rows):
        below = ["", "no gateway is among the selected hosts: how it sees the services is unknown"]
    below += ["", *trial_lines(rows)] if trial_lines(rows) else []
    return [*lines, *(screen.said(line) for line in (*below, *cause_lines(statuses)))]


def status_document(
    fleet: Fleet, observed: Observed, rows: Sequence[ServiceRow], errors: Errors
) -> Mapping[str, object]:
    """The document of `status`: hosts as they answered, and services as they run and as gateways see them."""
    hosts = [
        {
            "host": host.name,
            "groups": host.groups,
            "address": host.address,
            "status": to_json(observed.hosts.get(host.name)),
            "error": errors[host.name].as_json() if host.name in errors else None,
        }
        for host in fleet.hosts
        if host.name in observed.hosts or host.name in errors
    ]
    return {"hosts": hosts, "services": [row.as_json() for row in rows], "gateways": list(observed.gateways)}


def show_locks(
    screen: Screen, locks: Sequence[HeldLock], keepers: Sequence[str], silent: Errors, verb: str = "held"
) -> None:
    """Show who holds a lock, or held it; rollouts of several aliases hold several. The document's `lock`: the first.

    `keepers`: the hosts that keep locks; `silent`: why some of them say nothing.
    """
    if screen.json:
        rows = [lock.as_json() for lock in locks]
        first = rows[0] if rows else None
        more = {"keepers": list(keepers), "silent": list(silent)}
        screen.document("lock", {"lock": first, "locks": rows, "verb": verb, **more})
        return
    if not locks:
        screen.out("nobody holds the lock")
    for lock in locks:
        owner, kept = lock.owner, ", ".join(lock.keepers)
        if owner is None:
            screen.out(f"{verb}: by somebody: what lies on {kept} as `{lock.name}` cannot be read")
            continue
        screen.out(f"{verb}: {owner.user} from {owner.host} (pid {owner.pid}) since {owner.since}: {owner.command}")
        by = " by an older steelyard" if lock.is_older else ""
        of = f" ({len(lock.keepers)} of {len(keepers)} keepers)" if len(keepers) > 1 else ""
        screen.out(f"    kept on {kept}{of} until {lock.until}{by}")
    for name, error in silent.items():
        screen.out(f"{name} keeps locks too, and does not answer: {error}")


def show_preflight(screen: Screen, measured: Mapping[str, Sequence[Measure]], errors: Errors) -> None:
    """Show every measure in JSON; to people those that are not good, under each host's verdict."""
    from steelyard.hardware.floor import Grade, worst

    if screen.json:
        hosts = [
            {
                "host": name,
                "verdict": str(worst(measures)),
                "measures": [{**asdict(measure), "grade": str(measure.grade)} for measure in measures],
            }
            for name, measures in measured.items()
        ]
        screen.document("preflight", {"hosts": hosts, "errors": error_rows(errors)})
        return
    for name, measures in measured.items():
        screen.out(f"{name}: {worst(measures)}")
        for measure in measures:
            if measure.grade is not Grade.GOOD:
                line = f"{measure.grade}: {measure.name}: {measure.live}; declared: {measure.declared}"
                screen.out(f"    {line}\n        fix: {measure.fix}")
    screen.failures()


def show_images(screen: Screen, results: Mapping[str, Mapping[str, str]], errors: Errors) -> None:
    """Show what became of each image on each mirror host. `results`: by host and image."""
    rows = [
        {"host": host, "image": image, "result": result}
        for host, images in results.items()
        for image, result in images.items()
    ]
    if screen.json:
        screen.document("mirror images sync", {"images": rows, "errors": error_rows(errors)})
        return
    for row in rows:
        screen.out(f"{row['host']}: {row['image']}: {row['result']}")
    screen.failures()


def show_lab(screen: Screen, name: str, reports: Sequence[LabHostStatus]) -> None:
    """Show a table of the lab's machines."""
    if screen.json:
        screen.document("lab status", {"lab": name, "hosts": [asdict(report) for report in reports]})
        return
    from .tables import lab_table

    screen.tables(lab_table(reports))
