"""Progress of a command on a host, told to the controller: a line of JSON on standard output that starts with RS."""

from __future__ import annotations

RS = "\x1e"  # record separator: no other line starts with it
LISTENS = "STEELYARD_TELLS"  # in the environment of commands whose controller reads such lines
