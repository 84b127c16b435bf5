"""How does one browser follow a job over a WebSocket, attempt after attempt?

What it is shown of an attempt is the business of those that derive from ``Session``.
"""

from __future__ import annotations

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from bus.logs import Place, next_attempt
from schemas.job import Record
from ui.events import Watch
from ui.frames import control_frame
from ui.hub import FeedFailed
from ui.keys import CONFIG, SOCKETS
from ui.problems import problem_body, problem_of, refuse

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 20.0
SEND_SECONDS = 60.0
"""A browser that takes nothing for this long is hung up on; its cursor brings it back."""
CLOSE_SECONDS = 3.0
MESSAGE_BYTES = 4096
"""Longest message of a client."""
WINDOW_BYTES = 64 * 1024 * 1024


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
    sockets[ws] = request
    try:
        await ws.prepare(request)
        yield ws
    finally:
        sockets.pop(ws, None)
        if not ws.closed and ws.prepared:
            await ws.close()


class Session(ABC):
    """One browser at one job's log."""

    def __init__(self, ws: web.WebSocketResponse, watch: Watch, pinned: int) -> None:
        """``pinned`` is the one attempt that it wants; 0 for one after the other."""
        self._ws = ws
        self._watch = watch
        self._pinned = pinned
        self._told = 0

    @abstractmethod
    async def _show(self, attempt: int) -> None:
        """The log of that attempt, to its end. Raises ``FeedFailed``."""

    @abstractmethod
    def _seen(self, total: int) -> None:
        """The client says how many bytes have reached it."""

    def _first(self) -> int:
        """The attempt to begin with; 0 for the newest."""
        return self._pinned

    def _ending(self) -> dict[str, Any]:
        """What the last frame says."""
        return {}

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
                self._seen(seen_of(message.data))

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
        await self._until_attempt(max(1, self._first()))
        attempt = self._first() or self._watch.record.attempt
        while attempt and self._watch.record.find(attempt):
            place = Place(attempt, self._watch.record.returns(attempt))
            await self._send(attempt_frame(self._watch.record, attempt))
            await self._show(attempt)
            attempt = 0 if self._pinned else await self._following(place)
        await self._tell_job()
        await self._send(control_frame("end", **self._ending()))

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
