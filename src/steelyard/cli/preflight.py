"""`steelyard preflight`: are these hosts what we think they are?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steelyard.errors import Exit

from .common import Run, command

if TYPE_CHECKING:
    from steelyard.hardware.floor import Measure


@command(limit=True)
def preflight(
    run: Run,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one page with bars too.")] = None,
    links: Annotated[bool, typer.Option(help="Measure links between hosts.")] = True,
) -> Exit:
    """Measure hosts against the declared floor. Processor, memory, disk, links, clock, PCIe; nothing is installed.

    It loads disks and links for seconds: run it before services do. Exit 0: every host is above the floor. 2: one is
    not, or something could not be measured. 3: a host did not answer.
    """
    from steelyard.hardware.floor import Grade, worst
    from steelyard.render.fleet import show_preflight

    with run.session() as (fleet, session):
        from steelyard.workflows.measure_hosts import HostMeasurements

        measured = HostMeasurements(fleet, session, run.screen.event).take(links)
    show_preflight(run.screen, measured, run.errors)
    if html is not None:
        _write_page(run, html, measured)
    grades = {worst(measures) for measures in measured.values()}
    return run.exit(Exit.CHANGES if grades & {Grade.BELOW, Grade.UNKNOWN} else Exit.DONE)


def _write_page(run: Run, path: Path, measured: dict[str, list[Measure]]) -> None:
    """Write the page with bars. Raises FileNotWritten."""
    from steelyard.errors import FileNotWritten
    from steelyard.render.preflight_page import page

    text = page(measured, {name: str(error) for name, error in run.errors.items()})
    try:
        path.write_text(run.screen.mask(text))
    except OSError as error:
        raise FileNotWritten(where=str(path), why=error.strerror or "not writable") from error
