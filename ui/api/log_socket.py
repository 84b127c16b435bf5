"""How does a live log reach a browser? Everything after its cursor, then the tail.

``GET /api/v1/jobs/{job}/log/ws?after=1.0.2048&attempt=&rank=&window=``. With ``window`` the
client says ``{"seen": N}`` (bytes so far) and never has more than that many unseen on the way.
``after`` may be repeated: the last one is where the client is, the others say how much it has of
other attempts, in case one of them goes on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bus.errors import NotFound
from schemas.log import Cursor
from ui.admission import check_job
from ui.api.common import job_of, number_of
from ui.api.log_session import WINDOW_BYTES, Session, socket_of
from ui.events import Watch
from ui.hub import FeedFailed, Hub
from ui.keys import EVENTS, HUB
from ui.problems import refuse, unknown_job
from ui.streams import reading

MOST_PLACES = 64
"""Attempts of which a client may say how much it has."""


async def log_socket(request: web.Request) -> web.StreamResponse:
    job = job_of(request)
    cursor = cursor_of(request)
    places = {one.attempt: one.offset for one in cursors_of(request)}
    pinned = number_of(request, "attempt", 0, 0, 1_000_000)
    window = number_of(request, "window", 0, 0, WINDOW_BYTES)
    try:
        async with request.app[EVENTS].watch(job) as watch:
            check_job(request, watch.record)
            async with socket_of(request) as ws:
                hub = request.app[HUB]
                asked = Reading(cursor, places, pinned)
                session = ByteSession(ws, watch, hub, asked, Window(window))
                await session.run()
            return ws
    except NotFound:
        raise unknown_job(job) from None


def cursor_of(request: web.Request) -> Cursor:
    """``after``, or the start of ``attempt`` and ``rank``."""
    attempt = number_of(request, "attempt", 0, 0, 1_000_000)
    rank = number_of(request, "rank", 0, 0, 100_000)
    cursors = cursors_of(request)
    if not cursors or attempt not in (0, cursors[-1].attempt):
        return Cursor(attempt, rank, 0)
    return cursors[-1]


def cursors_of(request: web.Request) -> list[Cursor]:
    texts = [text for text in request.query.getall("after", []) if text]
    try:
        cursors = [Cursor.parse(text) for text in texts[-MOST_PLACES:]]
    except ValueError as error:
        raise refuse(422, "bad_cursor", "after is not valid", str(error)) from None
    if any(cursor.offset > 1 << 62 for cursor in cursors):
        raise refuse(422, "bad_cursor", "after is not valid", "There is no such place in a log.")
    return cursors


class Window:
    """How much may be on the way to one client; no limit where it did not ask for one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sent = 0
        self._seen = 0
        self._room = asyncio.Event()

    async def take(self, size: int) -> None:
        while self._limit and self._sent - self._seen >= self._limit:
            self._room.clear()
            await self._room.wait()
        self._sent += size

    def seen(self, total: int) -> None:
        self._seen = max(self._seen, min(total, self._sent))
        self._room.set()


@dataclass(frozen=True)
class Reading:
    """What a client asked for."""

    cursor: Cursor
    places: dict[int, int]
    """Attempt to the offset up to which the client has its log."""
    pinned: int
    """The one attempt that it wants; 0 for one after the other."""


class ByteSession(Session):
    """One browser at one job's log as it was printed, byte for byte."""

    def __init__(
        self, ws: web.WebSocketResponse, watch: Watch, hub: Hub, reading: Reading, window: Window
    ) -> None:
        super().__init__(ws, watch, reading.pinned)
        self._hub = hub
        self._cursor = reading.cursor
        self._places = dict(reading.places)
        self._window = window

    def _seen(self, total: int) -> None:
        self._window.seen(total)

    def _first(self) -> int:
        return self._cursor.attempt

    def _ending(self) -> dict[str, Any]:
        return {"cursor": str(self._cursor)}

    async def _show(self, attempt: int) -> None:
        self._cursor = Cursor(attempt, self._cursor.rank, self._places.get(attempt, 0))
        source = self._hub.frames(self._watch.record, self._cursor)
        async with reading(source) as frames:
            async for frame in frames:
                if frame.start != self._cursor.offset:
                    raise FeedFailed(f"byte {frame.start} came where {self._cursor} was next")
                await self._window.take(len(frame.body))
                await self._send(frame.body)
                self._cursor = self._cursor._replace(offset=frame.end)
        self._places[attempt] = self._cursor.offset
