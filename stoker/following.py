"""How is a job's log followed over a WebSocket, through every break of the line?"""

from __future__ import annotations

import asyncio
import json
import queue
import ssl
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from stoker.answers import (
    Gap,
    Job,
    LogPiece,
    NotSignedIn,
    Refused,
    StokerError,
    read_job,
    read_problem,
)
from stoker.transport import UNAUTHORIZED, bearer
from stoker.trust import Untrusted, complaint, trust_for

BACKLOG = 256
"""Events that wait for a slow reader before the socket is no longer read."""
HEARTBEAT = 10.0
"""Seconds between pings; a dead line is noticed after one and a half of it."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
CONNECT = 10.0
"""Seconds."""
FINAL = frozenset({400, 401, 403, 404, 410, 422})
"""HTTP statuses that asking again does not change."""

Event = LogPiece | Gap | Job


async def follow(
    url: str,
    job: str,
    after: str = "0.0.0",
    ca: str | Path | None = None,
    token: str | None = None,
) -> AsyncGenerator[Event, None]:
    """Reconnects at the cursor that it has reached, for as long as it is read."""
    pause = FIRST_PAUSE
    line = Line(after)
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT)
    async with aiohttp.ClientSession(timeout=timeout, headers=bearer(token)) as session:
        while not line.over:
            trust = trust_for(url, ca)  # Each time: the certificate may have been renewed.
            try:
                place = f"{url}/api/v1/jobs/{job}/log/ws"
                async for event in line.events(session, place, trust):
                    pause = FIRST_PAUSE
                    yield event
            except aiohttp.WSServerHandshakeError as error:
                if error.status in FINAL:
                    raise refused(error, job, url, token) from error
            except aiohttp.ClientSSLError as error:
                raise mistrusted(error, url) from error
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            if not line.over:
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)


def mistrusted(error: aiohttp.ClientSSLError, url: str) -> Untrusted:
    cause = getattr(error, "certificate_error", None) or error.os_error
    return Untrusted(complaint(cause, url) or str(error))


def refused(
    error: aiohttp.WSServerHandshakeError, job: str, url: str, token: str | None
) -> Refused:
    if error.status == UNAUTHORIZED:
        return NotSignedIn(url, bool(token))
    detail = f"there is no job {job}" if error.status == 404 else error.message
    return Refused(error.status, f"http_{error.status}", detail)


class Line:
    """The place that one reader has reached, over any number of connections."""

    def __init__(self, after: str) -> None:
        self.cursor = after
        self.places: dict[int, str] = {}
        """Attempt to the cursor that its log has reached: one that was lost may go on."""
        self.over = False

    async def events(
        self, session: aiohttp.ClientSession, url: str, trust: ssl.SSLContext | None = None
    ) -> AsyncGenerator[Event, None]:
        """What one connection brings; ends when it breaks."""
        async with session.ws_connect(
            url,
            params=self.after(),
            heartbeat=HEARTBEAT,
            max_msg_size=8 << 20,
            ssl=trust or True,
        ) as socket:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    piece = read_piece(message.data)
                    self.reached(piece.attempt, piece.cursor)
                    yield piece
                elif message.type is aiohttp.WSMsgType.TEXT:
                    event = self.control(json.loads(message.data))
                    if event is not None:
                        yield event
                    if self.over:
                        return

    def after(self) -> list[tuple[str, str]]:
        current = int(self.cursor.partition(".")[0])
        others = [place for attempt, place in self.places.items() if attempt != current]
        return [("after", place) for place in (*others, self.cursor)]

    def reached(self, attempt: int, cursor: str) -> None:
        self.cursor = self.places[attempt] = cursor

    def control(self, message: Mapping[str, Any]) -> Event | None:
        match message.get("type"):
            case "job":
                return read_job(message)
            case "gap":
                end = message["offset"] + message["length"]
                place = f"{message['attempt']}.{message['rank']}.{end}"
                self.reached(message["attempt"], place)
                why = message.get("why")
                told = f"were {why}" if why else "could not be kept"
                return Gap(f"{message['length']} bytes of the log {told}", message)
            case "end":
                self.over = True
            case "error":
                problem = message.get("problem") or {}
                if problem.get("status") in FINAL:
                    raise read_problem(problem["status"], problem)
        return None


def read_piece(frame: bytes) -> LogPiece:
    """A binary frame: the header's length in four bytes, the header as JSON, the log's bytes."""
    size = int.from_bytes(frame[:4], "big")
    header = json.loads(frame[4 : 4 + size])
    return LogPiece(
        attempt=header["attempt"],
        rank=header["rank"],
        offset=header["offset"],
        time=header["time"],
        spans=tuple((stream, length) for stream, length in header["spans"]),
        data=frame[4 + size :],
    )


def followed(
    url: str,
    job: str,
    after: str,
    patience: float | None = None,
    ca: str | Path | None = None,
    token: str | None = None,
) -> Iterator[Event | None]:
    """``follow`` for callers without an event loop, or inside a notebook's.

    With ``patience`` it yields None whenever nothing came for so many seconds.
    """
    channel = Channel(follow(url, job, after, ca, token))
    thread = threading.Thread(target=channel.run, name="stoker-follow", daemon=True)
    thread.start()
    try:
        yield from channel.events(patience)
    finally:
        channel.stop()
        thread.join(timeout=5)


class Channel:
    """A thread's event loop on one side, a plain iterator on the other."""

    def __init__(self, source: AsyncGenerator[Event, None]) -> None:
        self.source = source
        self.queue: queue.Queue[Event | Exception | None] = queue.Queue(BACKLOG)
        self.stopped = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.task: asyncio.Task[None] | None = None

    def run(self) -> None:
        with (
            asyncio.Runner(loop_factory=lambda: self.loop) as runner,
            suppress(asyncio.CancelledError),
        ):
            runner.run(self.pump())

    async def pump(self) -> None:
        self.task = asyncio.current_task()
        try:
            async for event in self.source:
                await self.put(event)
            await self.put(None)
        except StokerError as error:
            await self.put(error)
        except Exception as error:
            await self.put(StokerError(f"the log cannot be followed: {error!r}"))

    async def put(self, event: Event | Exception | None) -> None:
        """Waits for a slow reader without blocking the heartbeat."""
        while not self.stopped.is_set():
            try:
                return self.queue.put_nowait(event)
            except queue.Full:
                await asyncio.sleep(0.01)
        return None

    def events(self, patience: float | None = None) -> Iterator[Event | None]:
        while True:
            try:
                event = self.queue.get(timeout=patience)
            except queue.Empty:
                yield None
                continue
            if event is None:
                return
            if isinstance(event, Exception):
                raise event
            yield event

    def stop(self) -> None:
        self.stopped.set()
        task = self.task
        if task is not None:
            with suppress(RuntimeError):  # The loop has ended by itself.
                self.loop.call_soon_threadsafe(task.cancel)
