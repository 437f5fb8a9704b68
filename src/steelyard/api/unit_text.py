"""Values as systemd reads them in a file of `EnvironmentFile=`: quoted so that the process gets what was declared."""

from __future__ import annotations

import re

# without quotes systemd takes off spaces at both ends, reads a backslash as a mark for the next letter, and a quote as
# the beginning of a quoted value; `$`, `%` and `#` are plain letters there
QUOTED = re.compile(r"^[ \t'\"]|\\|[ \t]$")
MARKED = re.compile(r'(["\\$`])')  # with a backslash before them, within double quotes


def environment_value(value: str) -> str:
    """The part behind `NAME=`; plain where that arrives as it stands, so that files of before stay as they are.

    The value has no line break: a line is a variable, and helpers of older releases read them one by one.
    """
    return '"' + MARKED.sub(r"\\\1", value) + '"' if QUOTED.search(value) else value
