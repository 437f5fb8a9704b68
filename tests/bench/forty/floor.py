"""The floor: every question of the forty tasks as one script over one SSH exec per host, and nothing else.

Usage: floor.py INVENTORY_HOSTS_JSON SCRIPT. Prints the number of bytes that came back.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import asyncssh


async def look(host: dict[str, str | int], key: str, known_hosts: str, script: str) -> int:
    async with asyncssh.connect(
        str(host["address"]),
        port=int(host.get("port", 22)),
        username="ops",
        client_keys=[key],
        known_hosts=known_hosts,
        agent_path=None,
        config=None,
    ) as connection:
        done = await connection.run("exec sudo -H -n sh", input=script, check=True)
        return len(done.stdout or "")


async def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    script = Path(sys.argv[2]).read_text()
    looks = [look(host, given["key"], given["known_hosts"], script) for host in given["hosts"]]
    print(sum(await asyncio.gather(*looks)))


asyncio.run(main())
