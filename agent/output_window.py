"""How do chunks get to the service: several at one time, as many as the way there carries?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bus.errors import Unanswered
from bus.link import backoff
from schemas.outputs import CHUNK

WIDEST = 12
MOST_IN_BATCH = 128

Send = Callable[[list[bytes], list[bytes]], Awaitable[None]]
"""Digests and chunks of one message. Raises ``Unanswered`` where a try was in vain."""
TRIES = 4


@dataclass
class Batch:
    """What goes in one message."""

    digests: list[bytes] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0


class Window:
    """At most ``WIDEST`` messages on their way; memory is bounded by them.

    Opens by one with each answer, and halves when one is not answered: a slow line is not filled
    with what will be sent again.
    """

    def __init__(self, send: Send, on_sent: Callable[[int], None]) -> None:
        self._send = send
        self._on_sent = on_sent
        self._width = 2.0
        self._flying: set[asyncio.Task[None]] = set()
        self._batch = Batch()
        self.stored: set[bytes] = set()
        """Digests that the job has, or will have when what flies has arrived."""

    async def add(self, digest: bytes, data: bytes) -> None:
        """Waits for room. Raises what sending an earlier one met."""
        if digest in self.stored:
            return
        self.stored.add(digest)
        batch = self._batch
        if batch.size + len(data) > CHUNK or len(batch.digests) >= MOST_IN_BATCH:
            await self._fly()
        self._batch.digests.append(digest)
        self._batch.chunks.append(data)
        self._batch.size += len(data)

    async def settle(self) -> None:
        """Until all is stored."""
        await self._fly()
        while self._flying:
            await self._landed()

    async def abandon(self) -> None:
        """What is on its way is given up; what the job has is not known any more."""
        self._batch = Batch()
        self.stored.clear()
        for task in self._flying:
            task.cancel()
        await asyncio.gather(*self._flying, return_exceptions=True)
        self._flying.clear()

    async def _fly(self) -> None:
        batch, self._batch = self._batch, Batch()
        if not batch.digests:
            return
        while len(self._flying) >= int(self._width):
            await self._landed()
        self._flying.add(asyncio.get_running_loop().create_task(self._sent(batch)))

    async def _landed(self) -> None:
        done, self._flying = await asyncio.wait(self._flying, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _sent(self, batch: Batch) -> None:
        for left in reversed(range(TRIES)):
            try:
                await self._send(batch.digests, batch.chunks)
                break
            except Unanswered:
                self._width = max(1.0, self._width / 2)
                if not left:
                    raise
                await asyncio.sleep(backoff(TRIES - left, 2.0))
        self._width = min(WIDEST, self._width + 1)
        self._on_sent(batch.size)
