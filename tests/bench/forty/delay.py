"""A relay that holds every piece back for a while, each way: `delay.py PORT HOST PORT SECONDS`."""

from __future__ import annotations

import asyncio
import sys

PORT, TARGET, TARGET_PORT, DELAY = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pieces keep their distance: the delay is of the line, not of its throughput."""
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, piece = await queue.get()
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            if not piece:
                writer.close()
                return
            writer.write(piece)
            await writer.drain()

    delivering = asyncio.ensure_future(deliver())
    while piece := await reader.read(65536):
        queue.put_nowait((asyncio.get_running_loop().time() + DELAY, piece))
    queue.put_nowait((asyncio.get_running_loop().time() + DELAY, b""))
    await delivering


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    there = await asyncio.open_connection(TARGET, TARGET_PORT)
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer), return_exceptions=True)


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", PORT)
    await server.serve_forever()


asyncio.run(main())
