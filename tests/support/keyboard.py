"""A real terminal as standard input, at which something was typed already."""

from __future__ import annotations

import os
import pty

import pytest


def typed(monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    """Standard input is a terminal from here on; `\\x04` ends it, as Ctrl-D does."""
    keyboard, terminal = pty.openpty()
    os.write(keyboard, keys.encode())
    monkeypatch.setattr("sys.stdin", os.fdopen(terminal))
