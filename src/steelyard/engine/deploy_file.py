"""A deploy file: read once, and run for each host."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from steelyard.errors import DeployBroken


@dataclass(frozen=True)
class DeployFile:
    """A deploy file, compiled."""

    path: Path
    code: CodeType

    @classmethod
    def read(cls, path: Path) -> DeployFile:
        """Return the compiled file. Raises DeployBroken where it is no Python."""
        try:
            return cls(path, compile(path.read_text(), str(path), "exec"))
        except (SyntaxError, ValueError) as error:
            where = f"{path}:{getattr(error, 'lineno', None) or 1}"
            raise DeployBroken(where=where, why=f"{type(error).__name__}: {error}") from error

    def run(self) -> None:
        """Run it for the host in context. Raises whatever the file raises."""
        exec(self.code, {"__file__": str(self.path), "__name__": "__deploy__"})

    def broken(self, error: Exception) -> DeployBroken | None:
        """Return the error of a file that itself raised; None where something that it called did."""
        last = traceback.extract_tb(error.__traceback__)[-1]
        if last.filename != str(self.path):
            return None
        return DeployBroken(where=f"{self.path}:{last.lineno}", why=f"{type(error).__name__}: {error}")
