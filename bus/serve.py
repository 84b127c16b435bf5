"""How does a service answer requests?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
from nats.aio.msg import Msg

from bus.codec import decode, encode
from bus.connection import ERROR_HEADER, UNAVAILABLE, Bus
from bus.errors import BusError, Corrupt, NotFound, Refused, StoreFull
from schemas.message import Message
from schemas.problem import Problem

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Route:
    """What answers one subject; ``handler`` gets the request and the subject it came on."""

    request: type[Message]
    handler: Callable[[Any, str], Awaitable[Message]]
    concurrency: int = 256


async def serve(bus: Bus, routes: Mapping[str, Route], queue: str) -> None:
    """Answers until it is cancelled; replicas with the same ``queue`` share the requests.

    A handler that raises ``Refused`` answers with its problem. Anything else that it raises is
    logged and answered as one, too: a caller is never left waiting.
    """
    async with asyncio.TaskGroup() as tasks, contextlib.AsyncExitStack() as stack:
        for subject, route in routes.items():
            await stack.enter_async_context(
                bus.subscribe(subject, starter(tasks, route), queue=queue)
            )
        await bus.flush()
        await asyncio.get_running_loop().create_future()


def starter(tasks: asyncio.TaskGroup, route: Route) -> Callable[[Msg], Awaitable[None]]:
    """Starts a task for each message; with ``concurrency`` of them at work, the next one waits."""
    room = asyncio.Semaphore(route.concurrency)

    async def answer(message: Msg) -> None:
        try:
            await respond(route, message)
        finally:
            room.release()

    async def start(message: Msg) -> None:
        await room.acquire()
        tasks.create_task(answer(message))

    return start


async def respond(route: Route, message: Msg) -> None:
    data, headers = await outcome(route, message)
    if not message.reply:
        return
    try:
        await message._client.publish(message.reply, data, headers=headers)
    except Exception as error:
        log.warning("answer to %s was not sent: %s", message.subject, error)


async def outcome(route: Route, message: Msg) -> tuple[bytes, dict[str, str]]:
    try:
        request = decode(route.request, message.data, message.headers)
        return encode(await route.handler(request, message.subject))
    except Exception as error:
        return refusal(problem_of(error, message.subject))


def refusal(problem: Problem) -> tuple[bytes, dict[str, str]]:
    data: bytes = msgpack.packb(problem.model_dump(exclude_none=True))
    return data, {ERROR_HEADER: problem.code}


def problem_of(error: Exception, subject: str) -> Problem:
    match error:
        case Refused():
            return error.problem
        case Corrupt():
            return Problem(
                code="bad_request", title="The request cannot be read", detail=str(error)
            )
        case NotFound():
            return Problem(code="not_found", title="Not found", status=404, detail=str(error))
        case StoreFull():
            return Problem(
                code="store_full",
                title="The store is full",
                status=507,
                detail=f"JetStream has no room ({error}); free some space or raise its limit",
            )
        case BusError():
            log.warning("%s: %s", subject, error)
            return Problem(
                code=UNAVAILABLE,
                title="The message bus did not answer",
                status=503,
                detail="try again in a moment",
            )
    log.error("%s failed", subject, exc_info=error)
    return Problem(
        code="internal",
        title="Something went wrong here",
        status=500,
        detail="the service's log has the details",
    )
