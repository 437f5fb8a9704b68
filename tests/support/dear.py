"""Rows that are dear take turns by day, so that a day's run has some of them and no day has all."""

from __future__ import annotations

import os
from datetime import date

import pytest


def dear(number: int, of: int, everything: str = "STEELYARD_DEAR") -> pytest.MarkDecorator:
    """Of so many rows one runs a day, in turn; all of them where the variable `everything` says `all`."""
    mine = os.environ.get(everything) == "all" or date.today().toordinal() % of == number
    return pytest.mark.skipif(not mine, reason=f"its turn is another day's; {everything}=all runs it")
