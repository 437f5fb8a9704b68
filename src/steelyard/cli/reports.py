"""`--report FORMAT[:FILE]`: checked before the first connection, written after the last."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.errors import FileNotWritten, SteelyardError
from steelyard.origin import now
from steelyard.render.reports import Report, writer_of

if TYPE_CHECKING:
    from steelyard.drift.drifted import Drifted


@dataclass(frozen=True)
class Reports:
    """What was asked for: a format, and a file or standard output."""

    wanted: tuple[tuple[str, Path | None], ...]

    @property
    def to_stdout(self) -> bool:
        return any(path is None for _, path in self.wanted)

    def write(
        self,
        inventory: Path,
        drifted: Drifted,
        looked_at: tuple[str, ...],
        errors: tuple[SteelyardError, ...],
        mask: Callable[[str], str],
    ) -> None:
        """Raises FileNotWritten."""
        report = Report(_shown(inventory), now(), drifted, looked_at, errors)
        for name, path in self.wanted:
            text = mask(writer_of(name)(report))
            if path is None:
                print(text, end="")
                continue
            try:
                path.write_text(text)
            except OSError as error:
                raise FileNotWritten(where=str(path), why=error.strerror or str(error)) from error


def open_reports(given: list[str]) -> Reports:
    """Raises ReportUnknown, FileNotWritten."""
    wanted = []
    for text in given:
        name, _, file = text.partition(":")
        writer_of(name)
        path = Path(file) if file else None
        if path is not None and not os.access(path.parent, os.W_OK):
            raise FileNotWritten(where=file, why="its folder is not there, or not writable")
        wanted.append((name, path))
    return Reports(tuple(wanted))


def _shown(inventory: Path) -> str:
    """The file a reader of the report can open, relative to where the repository most likely is."""
    hosts = next((inventory / name for name in ("hosts.yml", "hosts.yaml", "hosts") if (inventory / name).is_file()), inventory)
    try:
        return str(hosts.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(hosts)
