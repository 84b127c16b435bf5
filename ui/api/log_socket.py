"""How does a live log reach a browser? Everything after its cursor, then the tail.

``GET /api/v1/jobs/{job}/log/ws?after=1.0.2048&attempt=&rank=&window=``. With ``window`` the
client says ``{"seen": N}`` (bytes so far) and never has more than that many unseen on the way.
``after`` may be repeated: the last one is where the client is, the others say how much it has of
other attempts, in case one of them goes on.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import WSCloseCode, WSMsgType, web

from bus.errors import NotFound
from bus.logs import Place, next_attempt
from schemas.job import Record
from schemas.log import Cursor
from ui.api.common import job_of, number_of
from ui.events import Watch
from ui.frames import control_frame
from ui.hub import FeedFailed, Hub
from ui.keys import CONFIG, EVENTS, HUB, SOCKETS
from ui.problems import problem_body, problem_of, refuse, unknown_job
from ui.streams import reading

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 20.0
SEND_SECONDS = 60.0
"""A browser that takes nothing for this long is hung up on; its cursor brings it back."""
CLOSE_SECONDS = 3.0
MESSAGE_BYTES = 4096
"""Longest message of a client."""
WINDOW_BYTES = 64 * 1024 * 1024
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
            async with socket_of(request) as ws:
                hub = request.app[HUB]
                session = Session(ws, watch, hub, Reading(cursor, places, pinned), Window(window))
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


@asynccontextmanager
async def socket_of(request: web.Request) -> AsyncIterator[web.WebSocketResponse]:
    """A WebSocket that counts, and is closed when the server stops."""
    sockets = request.app[SOCKETS].open
    if len(sockets) >= request.app[CONFIG].viewers_at_once:
        raise refuse(503, "too_many_viewers", "Too many pages are open", "Try again in a moment.")
    ws = web.WebSocketResponse(
        heartbeat=HEARTBEAT_SECONDS,
        compress=False,
        max_msg_size=MESSAGE_BYTES,
        timeout=CLOSE_SECONDS,
    )
    if not ws.can_prepare(request):
        raise refuse(426, "not_a_websocket", "This address takes WebSockets only", "Use wss or ws.")
    sockets.add(ws)
    try:
        await ws.prepare(request)
        yield ws
    finally:
        sockets.discard(ws)
        if not ws.closed and ws.prepared:
            await ws.close()


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


class Session:
    """One browser at one job's log."""

    def __init__(
        self, ws: web.WebSocketResponse, watch: Watch, hub: Hub, reading: Reading, window: Window
    ) -> None:
        self._ws = ws
        self._watch = watch
        self._hub = hub
        self._cursor = reading.cursor
        self._places = dict(reading.places)
        self._pinned = reading.pinned
        self._window = window
        self._told = 0

    async def run(self) -> None:
        """Until the log has ended or the client has gone."""
        try:
            async with asyncio.TaskGroup() as group:
                listener = group.create_task(self._listen())
                teller = group.create_task(self._tell_changes())
                streamer = group.create_task(self._stream())
                await asyncio.wait(
                    (listener, streamer, teller), return_when=asyncio.FIRST_COMPLETED
                )
                for task in (listener, teller, streamer):
                    task.cancel()
        except* (ConnectionError, TimeoutError):
            log.info("a viewer went away or took nothing")
        except* FeedFailed as failures:
            await self._fail(failures.exceptions[0])

    async def _listen(self) -> None:
        """Reading is what notices a closed socket; the only message is ``{"seen": N}``."""
        async for message in self._ws:
            if message.type is WSMsgType.TEXT:
                self._window.seen(seen_of(message.data))

    async def _tell_changes(self) -> None:
        while True:
            await self._tell_job()
            await self._watch.after(self._told)

    async def _tell_job(self) -> None:
        if self._told != self._watch.sequence:
            self._told = self._watch.sequence
            await self._send(self._watch.frame())

    async def _stream(self) -> None:
        await self._tell_job()
        await self._until_attempt(max(1, self._cursor.attempt))
        attempt = self._cursor.attempt or self._watch.record.attempt
        while attempt and self._watch.record.find(attempt):
            self._cursor = Cursor(attempt, self._cursor.rank, self._places.get(attempt, 0))
            place = Place(attempt, self._watch.record.returns(attempt))
            await self._send(attempt_frame(self._watch.record, attempt))
            await self._stream_attempt()
            self._places[attempt] = self._cursor.offset
            attempt = 0 if self._pinned else await self._following(place)
        await self._tell_job()
        await self._send(control_frame("end", cursor=str(self._cursor)))

    async def _following(self, read: Place) -> int:
        """The attempt that is read next; 0 where the job has ended and all is read."""
        watch = self._watch
        while (following := next_attempt(watch.record, read)) is None:
            await watch.after(watch.sequence)
        return following

    async def _until_attempt(self, number: int) -> None:
        """Returns once the job has that attempt or a later one, or has ended without."""
        watch = self._watch
        while not any(one.number >= number for one in watch.record.attempts):
            if watch.record.state.ended:
                return
            await watch.after(watch.sequence)

    async def _stream_attempt(self) -> None:
        source = self._hub.frames(self._watch.record, self._cursor)
        async with reading(source) as frames:
            async for frame in frames:
                if frame.start != self._cursor.offset:
                    raise FeedFailed(f"byte {frame.start} came where {self._cursor} was next")
                await self._window.take(len(frame.body))
                await self._send(frame.body)
                self._cursor = self._cursor._replace(offset=frame.end)

    async def _send(self, frame: bytes | str) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            if isinstance(frame, str):
                await self._ws.send_str(frame)
            else:
                await self._ws.send_bytes(frame)

    async def _fail(self, error: BaseException) -> None:
        cause = error.__cause__
        problem = problem_of(cause if isinstance(cause, Exception) else TimeoutError())
        try:
            await self._send(control_frame("error", problem=problem_body(problem)))
            await self._ws.close(code=WSCloseCode.TRY_AGAIN_LATER)
        except (ConnectionError, TimeoutError):
            log.info("a viewer went away before it was told that its log cannot be read")


def attempt_frame(record: Record, number: int) -> str:
    attempt = next((one for one in record.attempts if one.number == number), None)
    shown = attempt.model_dump(mode="json", exclude={"claim", "nonce"}) if attempt else None
    return control_frame("attempt", number=number, attempt=shown)


def seen_of(text: str) -> int:
    try:
        value = json.loads(text)["seen"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0
    return value if isinstance(value, int) else 0
