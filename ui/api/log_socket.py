"""How does a live log reach a browser? Everything after its cursor, then the tail.

``GET /api/v1/jobs/{job}/log/ws?after=1.0.2048&attempt=&rank=&window=``. With ``window`` the
client says ``{"seen": N}`` (bytes so far) and never has more than that many unseen on the way.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSCloseCode, WSMsgType, web

from bus.errors import NotFound
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


async def log_socket(request: web.Request) -> web.StreamResponse:
    job = job_of(request)
    cursor = cursor_of(request)
    pinned = number_of(request, "attempt", 0, 0, 1_000_000)
    window = number_of(request, "window", 0, 0, WINDOW_BYTES)
    try:
        async with request.app[EVENTS].watch(job) as watch:
            async with socket_of(request) as ws:
                session = Session(ws, watch, request.app[HUB], cursor, pinned, Window(window))
                await session.run()
            return ws
    except NotFound:
        raise unknown_job(job) from None


def cursor_of(request: web.Request) -> Cursor:
    """``after``, or the start of ``attempt`` and ``rank``."""
    attempt = number_of(request, "attempt", 0, 0, 1_000_000)
    rank = number_of(request, "rank", 0, 0, 100_000)
    text = request.query.get("after")
    if not text:
        return Cursor(attempt, rank, 0)
    try:
        cursor = Cursor.parse(text)
    except ValueError as error:
        raise refuse(422, "bad_cursor", "after is not valid", str(error)) from None
    if cursor.offset > 1 << 62:
        raise refuse(422, "bad_cursor", "after is not valid", "There is no such place in a log.")
    return cursor if attempt in (0, cursor.attempt) else Cursor(attempt, rank, 0)


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


class Session:
    """One browser at one job's log."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        watch: Watch,
        hub: Hub,
        cursor: Cursor,
        pinned: int,
        window: Window,
    ) -> None:
        self._ws = ws
        self._watch = watch
        self._hub = hub
        self._cursor = cursor
        self._pinned = pinned
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
        self._cursor = self._cursor._replace(attempt=attempt)
        while attempt and attempt <= self._watch.record.attempt:
            await self._send(attempt_frame(self._watch.record, attempt))
            await self._stream_attempt()
            if self._pinned or not await self._another(attempt):
                break
            attempt += 1
            self._cursor = Cursor(attempt, self._cursor.rank, 0)
        await self._tell_job()
        await self._send(control_frame("end", cursor=str(self._cursor)))

    async def _another(self, attempt: int) -> bool:
        """Whether an attempt comes after this one; known once it has, or the job has ended."""
        await self._until_attempt(attempt + 1)
        return self._watch.record.attempt > attempt

    async def _until_attempt(self, number: int) -> None:
        """Returns once the job has that attempt, or has ended without."""
        watch = self._watch
        while watch.record.attempt < number and not watch.record.state.ended:
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
