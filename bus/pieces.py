"""How is data that is named by its content stored once, found, read in a row and freed?

One message a piece, its digest the last token of its subject: no index, and replicas write in any
order. ``bus/outputs.py`` and ``bus/chunks.py`` say what the subjects are.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from bus.connection import API_TIMEOUT, Bus
from bus.errors import Conflict, Corrupt, Unanswered
from bus.headers import EXPECTED
from bus.link import ask
from bus.objects import CHUNK_TIMEOUT, WINDOW, hash_in

T = TypeVar("T")
R = TypeVar("R")
REMOVED_AT_ONCE = 16


async def put_once(bus: Bus, subject: str, data: bytes) -> bool:
    """Whether it was written: where it is there already, nothing is."""
    client = await bus.bulk()
    try:
        await bus.append(subject, data, {EXPECTED: "0"}, timeout=CHUNK_TIMEOUT, client=client)
    except Conflict:
        return False
    return True


async def read_piece(bus: Bus, stream: str, subject: str, digest: bytes) -> bytes:
    """Raises ``NotFound``, and ``Corrupt`` where it is not what its name says."""
    data = await raw_piece(bus, stream, subject)
    check = hashlib.sha256()
    await hash_in(check, data)
    if check.digest() != digest:
        raise Corrupt(f"a piece was damaged: {subject}")
    return data


async def raw_piece(bus: Bus, stream: str, subject: str) -> bytes:
    """For who passes it on to somebody who checks it. Raises ``NotFound``."""
    data = await direct(bus, stream, subject)
    if data is None:
        answer = await bus.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
        data = base64.b64decode(answer["message"].get("data", ""))
    return data


async def direct(bus: Bus, stream: str, subject: str) -> bytes | None:
    """From any server of a cluster; None where that one does not have it."""
    client = await bus.bulk()
    body = json.dumps({"last_by_subj": subject}).encode()
    try:
        reply = await ask(client, f"$JS.API.DIRECT.GET.{stream}", body, API_TIMEOUT)
    except (NatsTimeout, NoRespondersError, ConnectionClosedError) as error:
        raise Unanswered(subject, API_TIMEOUT) from error
    return reply.data if "Nats-Sequence" in (reply.headers or {}) else None


async def in_row(
    read: Callable[[T], Awaitable[R]], names: Iterable[T], window: int = WINDOW
) -> AsyncGenerator[R, None]:
    """What ``read`` gives for each, in their order, with ``window`` of them on their way."""
    coming: deque[asyncio.Future[R]] = deque()
    left = iter(names)
    try:
        while True:
            while len(coming) < window and (name := next(left, None)) is not None:
                coming.append(asyncio.ensure_future(read(name)))
            if not coming:
                return
            yield await coming.popleft()
    finally:
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)


async def subjects_page(bus: Bus, stream: str, pattern: str, offset: int = 0) -> list[str]:
    """Those that have a message, in order, as many as the server tells at one time."""
    return (await asked_page(bus, stream, pattern, offset))[0]


async def asked_page(bus: Bus, stream: str, pattern: str, offset: int) -> tuple[list[str], int]:
    """A page, and how many there are on all of them."""
    body = {"subjects_filter": pattern, "offset": offset}
    info = await bus.api(f"STREAM.INFO.{stream}", body)
    page = sorted(info["state"].get("subjects") or {})
    return page, int(info.get("total", offset + len(page)))


async def subjects_of(bus: Bus, stream: str, pattern: str) -> AsyncIterator[str]:
    """Page by page: there may be hundreds of thousands."""
    offset, total = 0, 1
    while offset < total:
        page, total = await asked_page(bus, stream, pattern, offset)
        if not page:
            return
        offset += len(page)
        for name in page:
            yield name


async def purge(bus: Bus, stream: str, subject: str) -> None:
    await bus.api(f"STREAM.PURGE.{stream}", {"filter": subject})


async def purge_all(bus: Bus, stream: str, subjects: list[str]) -> None:
    for start in range(0, len(subjects), REMOVED_AT_ONCE):
        some = subjects[start : start + REMOVED_AT_ONCE]
        await asyncio.gather(*(purge(bus, stream, subject) for subject in some))
