"""What does it cost at least to send stamped lines to very many WebSockets? aiohttp, uvloop alone.

``python -m benchmarks.logs.fanout PORT RATE BEAT`` sends until it is ended.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress

import uvloop
from aiohttp import web


def batch(first: int, count: int) -> bytes:
    """Lines as a paced program prints them now."""
    now = f"{time.time():.6f}"
    return "".join(
        f"{number:08d} {now}".ljust(99, ".") + "\n" for number in range(first, first + count)
    ).encode()


async def serve(port: int, rate: int, beat: float) -> None:
    sockets: set[web.WebSocketResponse] = set()

    async def join(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        sockets.add(socket)
        try:
            async for _ in socket:
                pass
        finally:
            sockets.discard(socket)
        return socket

    app = web.Application()
    app.router.add_get("/ws", join)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    clock = asyncio.get_running_loop().time
    due, number, each = clock(), 0, round(rate * beat)
    while True:
        data = batch(number, each)
        number += each
        for socket in list(sockets):
            with suppress(ConnectionError):
                await socket.send_bytes(data)
        due += beat
        await asyncio.sleep(max(0.0, due - clock()))


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
