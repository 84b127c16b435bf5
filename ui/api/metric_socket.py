"""How do new points of a job reach a browser?

``GET /api/v1/jobs/{job}/metrics/ws?attempt=``: what it says stands in docs/metrics.md.
"""

from __future__ import annotations

import asyncio
import logging
import time

from aiohttp import WSMsgType, web

from bus.connection import Bus
from bus.errors import BusError, NotFound
from bus.metrics import watch
from ui.admission import check_job
from ui.api.common import job_of, number_of
from ui.api.log_session import SEND_SECONDS, socket_of
from ui.events import Watch
from ui.frames import control_frame
from ui.keys import BUS, EVENTS, METRIC_FEEDS
from ui.metric_feed import MetricFeed, MetricViewer
from ui.problems import unknown_job

log = logging.getLogger(__name__)

NUDGE_SECONDS = 5.0
"""Between two nudges of the service, and two looks at whether all is told."""
NOTHING_SECONDS = 20.0
"""After a job's end nothing more is expected where it told nothing for so long."""


async def metric_socket(request: web.Request) -> web.StreamResponse:
    job = job_of(request)
    pinned = number_of(request, "attempt", 0, 0, 1_000_000)
    try:
        async with request.app[EVENTS].watch(job) as seen:
            check_job(request, seen.record)
            async with socket_of(request) as ws:
                with request.app[METRIC_FEEDS].watching(job) as (feed, viewer):
                    session = MetricSession(ws, seen, feed, viewer, pinned)
                    await session.run(request.app[BUS])
            return ws
    except NotFound:
        raise unknown_job(job) from None


class MetricSession:
    """One browser."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        seen: Watch,
        feed: MetricFeed,
        viewer: MetricViewer,
        pinned: int,
    ) -> None:
        self._ws = ws
        self._seen = seen
        self._feed = feed
        self._viewer = viewer
        self._pinned = pinned
        self._heard = time.monotonic()

    async def run(self, bus: Bus) -> None:
        """Until all is told, or the client has gone."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._listen()), group.create_task(self._tell())]
                tasks.append(group.create_task(self._until_told(bus)))
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
        except* (ConnectionError, TimeoutError):
            log.info("a viewer of metrics went away or took nothing")

    async def _listen(self) -> None:
        """Reading is what notices a closed socket."""
        async for message in self._ws:
            if message.type is WSMsgType.ERROR:
                return

    async def _tell(self) -> None:
        await self._send(control_frame("hello", job=self._seen.record.id))
        while True:
            attempt, frame = await self._viewer.get()
            self._heard = time.monotonic()
            if attempt == self._pinned or (not self._pinned and attempt >= self._newest):
                await self._send(frame)
            self._viewer.done()

    @property
    def _newest(self) -> int:
        """Attempts before it are not followed."""
        return self._pinned or self._seen.record.attempt

    async def _until_told(self, bus: Bus) -> None:
        while not self._over():
            try:
                await watch(bus, self._seen.record.id)
            except BusError as error:
                log.info("the service of metrics was not nudged: %s", error)
            await asyncio.sleep(NUDGE_SECONDS)
        await self._viewer.taken()
        await self._send(control_frame("end"))

    def _over(self) -> bool:
        if not self._seen.record.state.ended:
            return False
        silent = time.monotonic() - self._heard > NOTHING_SECONDS
        return self._feed.complete(self._newest) or silent

    async def _send(self, frame: str) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._ws.send_str(frame)
