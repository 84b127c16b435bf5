"""How do the replicas of a service share the messages of a durable consumer?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.errors import Error

from bus.connection import Bus
from bus.errors import BusError
from bus.fetch import Fetcher, PullBroken
from bus.follow import Delivery, read_delivery
from bus.link import backoff

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """Dealt with: never again."""


@dataclass(frozen=True)
class Later:
    """Not yet: again after that many seconds."""

    seconds: float = 1.0


@dataclass(frozen=True)
class Reject:
    """It can never be dealt with; logged as an error."""

    why: str


Outcome = Done | Later | Reject


async def consume(
    bus: Bus,
    stream: str,
    durable: str,
    handler: Callable[[Delivery], Awaitable[Outcome]],
    *,
    concurrency: int = 64,
) -> None:
    """Hands messages to ``handler`` until cancelled, ``concurrency`` at a time.

    At least once: a message whose handler raised comes again. Order is not kept.
    """
    attempt = 0
    while True:
        try:
            await session(bus, stream, durable, handler, concurrency)
        except (PullBroken, BusError, Error, OSError) as error:
            log.info("consuming %s/%s again: %s", stream, durable, error)
        await asyncio.sleep(backoff(attempt, 2.0))
        attempt = min(attempt + 1, 6)


async def session(
    bus: Bus,
    stream: str,
    durable: str,
    handler: Callable[[Delivery], Awaitable[Outcome]],
    concurrency: int,
) -> None:
    room = asyncio.Semaphore(concurrency)
    client = bus.nc

    async def handle(message: Msg) -> None:
        try:
            await settle(message, await outcome(handler, message))
        finally:
            room.release()

    async with Fetcher(bus, client, stream, durable) as fetcher, asyncio.TaskGroup() as tasks:
        broken: PullBroken | None = None
        while bus.nc is client:
            await fetcher.keep(concurrency)
            try:
                message = await fetcher.next()
            except PullBroken as error:
                broken = error
                break
            if message is not None:
                await room.acquire()
                tasks.create_task(handle(message))
    if broken:
        raise broken


async def outcome(handler: Callable[[Delivery], Awaitable[Outcome]], message: Msg) -> Outcome:
    try:
        delivery, _ = read_delivery(message)
        return await handler(delivery)
    except BusError as error:
        log.warning("%s: %s; again in a second", message.subject, error)
        return Later()
    except Exception:
        log.exception("%s failed; again in five seconds", message.subject)
        return Later(5.0)


async def settle(message: Msg, result: Outcome) -> None:
    try:
        match result:
            case Done():
                await message.ack()
            case Later():
                await message.nak(delay=result.seconds)
            case Reject():
                log.error("%s: %s", message.subject, result.why)
                await message.term()
    except (Error, OSError) as error:
        log.info("the answer to %s was not sent, so it comes again: %s", message.subject, error)
