"""How does an agent take tickets from a class, no more than it has room for?

Needs no rights beyond pulling from the class's consumer and acknowledging what it got.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.errors import Error

from bus import subjects
from bus.codec import decode
from bus.connection import Bus
from bus.errors import BusError, Corrupt
from bus.fetch import EXPIRES, Fetcher, PullBroken
from bus.link import backoff
from schemas.worker import Ticket

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PulledTicket:
    """A hint that ``job`` may be claimed. One of ``ack`` and ``back`` must follow."""

    job: str
    message: Msg

    async def ack(self) -> None:
        """The job is claimed, or not to be had any more: the ticket goes."""
        await self.message.ack()

    async def back(self, delay: float = 0.0) -> None:
        """No room for it after all: another worker may have it, after ``delay`` seconds."""
        await self.message.nak(delay=delay or None)


class Pull:
    """Tickets of one class. ``want`` says how many there is room for at this moment."""

    def __init__(self, bus: Bus, pool: str, class_name: str) -> None:
        self._bus = bus
        self._stream = subjects.work_stream(pool)
        self._consumer = class_name
        self._wanted = 0
        self._news = asyncio.Event()
        self.expires = EXPIRES
        """Seconds that a request stands at the server; it gives tickets to a machine that went away
        without a word until then."""

    def want(self, number: int) -> None:
        """Room for ``number`` more tickets; what was asked for already counts.

        Requests that stand at the server cannot be taken back: tickets beyond the room that is
        left when they arrive are the caller's to give ``back``.
        """
        self._wanted = number
        self._news.set()

    async def tickets(self) -> AsyncIterator[PulledTicket]:
        """For ever; anew after any trouble."""
        attempt = 0
        while True:
            try:
                async for ticket in self._session():
                    attempt = 0
                    yield ticket
            except (PullBroken, BusError, Error, OSError) as error:
                log.info("pulling from %s/%s again: %s", self._stream, self._consumer, error)
            await asyncio.sleep(backoff(attempt, 2.0))
            attempt = min(attempt + 1, 8)

    async def _session(self) -> AsyncIterator[PulledTicket]:
        client = self._bus.nc
        async with Fetcher(self._bus, client, self._stream, self._consumer) as fetcher:
            while self._bus.nc is client:
                await fetcher.keep(self._wanted, self.expires)
                if not fetcher.owed and not fetcher.waiting():
                    await self._until_wanted()
                    continue
                message = await self._next(fetcher)
                if message is not None:
                    self._wanted = max(0, self._wanted - 1)
                    ticket = await read_ticket(message)
                    if ticket is not None:
                        yield ticket

    async def _until_wanted(self) -> None:
        self._news.clear()
        if self._wanted <= 0:
            await self._news.wait()

    async def _next(self, fetcher: Fetcher) -> Msg | None:
        """The next message, or None when more is to be asked for."""
        self._news.clear()
        if fetcher.short(self._wanted):
            return None
        coming = asyncio.ensure_future(fetcher.next())
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait((coming, news), return_when=asyncio.FIRST_COMPLETED)
            return await coming if coming.done() else None
        finally:
            news.cancel()
            if not coming.done():
                coming.cancel()


async def read_ticket(message: Msg) -> PulledTicket | None:
    try:
        return PulledTicket(decode(Ticket, message.data, message.headers).job, message)
    except Corrupt as error:
        log.error("a ticket on %s is not one: %s", message.subject, error)
        await message.term()
        return None
