"""The helper's commands: a module for each group, which registers its own, and the parser of them all."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Protocol

Arguments = argparse.Namespace
Call = Callable[[Arguments], Any]  # gives the answer to print as JSON, or an exit status


class Add(Protocol):
    """Registers a command under `name`, with a line of help; the group adds its arguments to what comes back."""

    def __call__(self, name: str, text: str, call: Call) -> argparse.ArgumentParser: ...
