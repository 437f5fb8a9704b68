"""An SSH server that is any number of hosts: it speaks the real protocol and answers the recorded facts of one.

`answering.py PORT HOST_KEY USER_KEY ANSWERS SILENT`: every address of 127.0.0.0/8 is a host; those in the file SILENT,
one a line, let everybody in and then say nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from pathlib import Path

import asyncssh

PORT, HOST_KEY, USER_KEY = int(sys.argv[1]), sys.argv[2], sys.argv[3]
ANSWERS: dict[str, list[str]] = json.loads(Path(sys.argv[4]).read_text())
SILENT = set(Path(sys.argv[5]).read_text().split())
QUESTION = re.compile(r"\( eval (.+?)\n\) 2>", re.S)
MARKER = re.compile(r"/\.(steelyard-[0-9a-f]+)")
GREETING = "^\\n'; "  # the end of the word that comes before all answers


def answer(script: str, marker: str) -> str:
    """What a shell would have printed for a batch of framed questions."""
    parts = []
    for quoted in QUESTION.findall(script):
        asked = shlex.split(quoted)[0]
        status, stdout, stderr = ANSWERS.get(asked, ["127", "", f"not recorded: {asked}"])
        parts.append(f"{stdout}\n{marker} {status}\n{stderr}\n{marker}.\n")
    return "".join(parts) + f"\n{marker}!\n"


async def shell(process: asyncssh.SSHServerProcess[str]) -> None:
    address = process.get_extra_info("sockname")[0]
    if address in SILENT:
        await asyncio.sleep(3600)
    script, marker = "", ""
    while piece := await process.stdin.read(1 << 16):
        script += piece
        found = MARKER.search(script)
        marker = found[1] if found else marker
        if marker and script.endswith(f"printf '\\n{marker}!\\n'\n"):
            greeting = f"\n{marker}^\n" if GREETING in script else ""
            process.stdout.write(greeting + answer(script, marker))
            script = ""
    process.exit(0)


async def main() -> None:
    await asyncssh.listen(
        "0.0.0.0",
        PORT,
        server_host_keys=[HOST_KEY],
        authorized_client_keys=USER_KEY,
        process_factory=shell,
        backlog=1000,
        login_timeout=0,
    )
    print("listening", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
