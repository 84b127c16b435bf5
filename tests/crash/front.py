"""How do two replicas of the page stand behind one address? As a balancer does it, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BLOCK = 64 * 1024
PAUSE = 0.02


class Front:
    """Each connection goes to one page of those that listen; it dies with that page."""

    def __init__(self, pages: Path) -> None:
        self._pages = pages
        """A file for each page that ever listened, with its address."""
        self._turn = count()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            async with closing(writer):
                theirs, ours = await self._connect()
                async with closing(ours):
                    pumps = [
                        asyncio.ensure_future(pump(reader, ours)),
                        asyncio.ensure_future(pump(theirs, writer)),
                    ]
                    try:
                        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for task in pumps:
                            task.cancel()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            pages = sorted(self._pages.iterdir())
            turn = next(self._turn)
            for number in range(len(pages)):
                address = urlsplit(pages[(turn + number) % len(pages)].read_text())
                with contextlib.suppress(OSError):
                    return await asyncio.open_connection(address.hostname, address.port)
            await asyncio.sleep(PAUSE)


@contextlib.asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()


@contextlib.asynccontextmanager
async def front(pages: Path) -> AsyncIterator[str]:
    """The one address."""
    server = await asyncio.start_server(Front(pages).relay, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.close()


def pages(folder: Path) -> dict[str, Any]:
    """Settings of a page that tells where it listens."""
    (folder / "pages").mkdir()
    return {"port": 0, "pages": str(folder / "pages")}
