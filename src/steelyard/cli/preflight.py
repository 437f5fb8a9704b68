"""`steelyard preflight`: are these hosts what we think they are?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steelyard.errors import Exit

from .options import EVERYTHING, INVENTORY, InventoryPath, Json, LimitTo, NoColor, Quiet, VaultPasswordFile

if TYPE_CHECKING:
    from steelyard.engine.session import Session
    from steelyard.inventory.fleet import Fleet
    from steelyard.preflight.verdict import Link, Measure
    from steelyard.render.screen import Screen


def preflight(
    inventory: InventoryPath = INVENTORY,
    limit: LimitTo = EVERYTHING,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one page with bars too.")] = None,
    links: Annotated[bool, typer.Option(help="Measure links between hosts.")] = True,
    vault_password_file: VaultPasswordFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> Exit:
    """Measure hosts against the declared floor: processor, memory, disk, links, clock, PCIe. Nothing is installed.

    It loads disks and links for seconds: run it before services do. Exit 0: every host is above the floor. 2: one is not, or
    something could not be measured. 3: a host did not answer.
    """
    from steelyard.preflight.verdict import Grade, worst
    from steelyard.render.screen import Screen

    from .work import Wanted, session

    screen = Screen(json=json, quiet=quiet, no_color=no_color)
    with session(Wanted(inventory, limit, vault_password_file, None), screen) as (fleet, opened):
        measured = _measure(fleet, opened, links, screen)
        errors = opened.errors
    screen.preflight(measured, errors)
    if html is not None:
        from steelyard.errors import FileNotWritten
        from steelyard.render.preflight_page import page

        try:
            html.write_text(screen.redactor.mask(page(measured, {name: str(error) for name, error in errors.items()})))
        except OSError as error:
            raise FileNotWritten(where=str(html), why=error.strerror or "not writable") from error
    if errors:
        return Exit.HOST_FAILED
    grades = {worst(measures) for measures in measured.values()}
    return Exit.CHANGES if grades & {Grade.BELOW, Grade.UNKNOWN} else Exit.DONE


def _measure(fleet: Fleet, opened: Session, links: bool, screen: Screen) -> dict[str, list[Measure]]:
    """Host by host what can be measured alone, then links in rounds."""
    from gevent.pool import Pool

    from steelyard.modules.connectors.ask import ask
    from steelyard.preflight.schedule import rounds
    from steelyard.preflight.verdict import Grade, Measure, of_disk, of_gpus, of_hardware, of_link
    from steelyard.settings import role_settings, settings_from

    model: Any = role_settings()["preflight"]
    floors = {host.name: settings_from(model, host.variables) for host in fleet.hosts}
    found: dict[str, list[Measure]] = {}
    able: dict[str, Any] = {}

    def alone(host: Any) -> None:
        floor: Any = floors[host.name]
        root = str(fleet.host(host.name).variables.get("model_root") or "/models")
        began = time.time()
        answer = ask(host, "hardware", root, *floor.resolve)
        ended = time.time()
        if answer is None:
            fix = "steelyard apply --deploy preflight installs the helper, fio and iperf3"
            found[host.name] = [Measure("hardware", Grade.UNKNOWN, "the helper is not installed", "measured", fix)]
            return
        now = answer["clock"]["now"]
        skew = max(began - now, now - ended, 0.0)
        measures = of_hardware(answer, floor, skew)
        measures += of_gpus(ask(host, "gpu-health") or {"pci": []})
        measures.append(of_disk(ask(host, "disk", root, str(floor.disk_s)) if answer["tools"]["fio"] else None, floor))
        found[host.name] = measures
        if answer["tools"]["iperf3"] and answer["tools"]["ping"]:
            able[host.name] = host

    opened.each(alone)
    if links and len(found) > 1:
        for name in found.keys() - able.keys() - opened.errors.keys():
            found[name] += of_link(_unmeasured("its peers", "iperf3 or ping is not installed"), floors[name])
        names = tuple(name for name in opened.names if name in able)
        most = max((floors[name].rounds for name in names), default=1)
        plan = rounds(names, most)
        for number, pairs in enumerate(plan, start=1):
            screen.note(f"links: round {number} of {len(plan)}, {len(pairs)} pairs")

            def one(pair: tuple[str, str]) -> None:
                client, server = pair
                floor: Any = floors[client]
                result = _link(able[client], able[server], fleet.host(server).address, floor.port, floor.link_s, server)
                found[client] += of_link(result, floor)

            for _ in Pool(100).imap_unordered(one, pairs):
                pass
    return {name: found[name] for name in opened.names if name in found}


def _unmeasured(peer: str, why: str) -> Link:
    from steelyard.preflight.verdict import Link

    return Link(peer, None, None, False, why)


def _link(client: Any, server: Any, address: str, port: int, seconds: float, peer: str) -> Link:
    """One pair. A host that falls silent meanwhile makes its link unmeasured, and no other."""
    from steelyard.modules.connectors.ask import ask
    from steelyard.preflight.verdict import Link
    from steelyard.problem import HostProblem

    try:
        ready = ask(server, "link-serve", str(port), str(seconds + 15))
        if ready is None or ready["error"]:
            return _unmeasured(peer, str(ready["error"]) if ready else "its helper says nothing")
        answer = ask(client, "link", address, str(port), str(seconds))
    except HostProblem as problem:
        return _unmeasured(peer, str(problem.error))
    if answer is None:
        return _unmeasured(peer, "the helper says nothing")
    return Link(peer, answer["bits_per_s"], answer["rtt_ms"], bool(answer["mtu_passes"]), answer["error"])
