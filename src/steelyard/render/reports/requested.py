"""`--report FORMAT[:FILE]`: checked before the first connection, written after the last."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.engine.run_owner import now
from steelyard.errors import FileNotWritten, SteelyardError

from . import WRITTEN, Report, writer_of

if TYPE_CHECKING:
    from steelyard.api.finding import Finding
    from steelyard.drift.report import DriftReport

Said = Callable[[str, Callable[[str], str]], str]  # see Screen.said


@dataclass(frozen=True)
class RequestedReports:
    """The reports that a call asks for: a format each, and a file, or None for standard output."""

    outputs: tuple[tuple[str, Path | None], ...]

    @property
    def to_stdout(self) -> bool:
        """Whether standard output belongs to a report."""
        return any(path is None for _, path in self.outputs)

    def write(
        self,
        inventory: Path,
        drift: DriftReport,
        looked_at: tuple[str, ...],
        errors: tuple[SteelyardError, ...],
        said: Said,
    ) -> None:
        """Write all of them; `said` takes secrets out of a text. Raises FileNotWritten."""

        def clean(finding: Finding) -> Finding:
            """The finding masked before a format writes it in its own way, in which a secret is not found."""
            texts = (finding.host, finding.subject, finding.declared, finding.live, finding.fix)
            host, subject, declared, live, fix = (said(text, str) for text in texts)
            return finding._replace(host=host, subject=subject, declared=declared, live=live, fix=fix)

        def clean_error(error: SteelyardError) -> SteelyardError:
            """The same of an error: its fields are what a host said."""
            fields = {name: getattr(error, name) for name in error.fields()}
            return type(error)(
                **{name: said(text, str) if isinstance(text, str) else text for name, text in fields.items()}
            )

        masked = replace(
            drift,
            findings=tuple(map(clean, drift.findings)),
            excepted=tuple((clean(finding), cover) for finding, cover in drift.excepted),
        )
        names, failed = tuple(said(name, str) for name in looked_at), tuple(map(clean_error, errors))
        report = Report(said(_source(inventory), str), now(), masked, names, failed)
        for name, path in self.outputs:
            text = said(writer_of(name)(report), WRITTEN.get(name, str))
            if path is None:
                print(text, end="")
                continue
            try:
                path.write_text(text)
            except OSError as error:
                raise FileNotWritten(where=str(path), why=error.strerror or str(error)) from error


def open_reports(given: list[str]) -> RequestedReports:
    """The reports that `--report` names, each `FORMAT` or `FORMAT:FILE`. Raises ReportUnknown, FileNotWritten."""
    outputs = []
    for text in given:
        name, _, file = text.partition(":")
        writer_of(name)
        path = Path(file) if file else None
        if path is not None and not os.access(path.parent, os.W_OK):
            raise FileNotWritten(where=file, why="its folder is not there, or not writable")
        outputs.append((name, path))
    return RequestedReports(tuple(outputs))


def _source(inventory: Path) -> str:
    """The file that a reader of the report can open, relative to where the repository most likely is."""
    hosts = next(
        (inventory / name for name in ("hosts.yml", "hosts.yaml", "hosts") if (inventory / name).is_file()), inventory
    )
    try:
        return str(hosts.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(hosts)
