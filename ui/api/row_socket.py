"""How do a log's rows reach a browser live? Those that can still change, then each change.

``GET /api/v1/jobs/{job}/log/rows/ws?attempt=&rank=&window=``. After each ``hello`` come the live
rows, then every change. With ``window`` the client says ``{"seen": N}`` (bytes of binary frames so
far); one that has more than that unseen, or takes nothing, is left behind and gets a fresh
``hello`` later. What lies before the live rows is fetched from ``/log/rows``.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from bus.errors import NotFound
from ui.admission import check_job
from ui.api.common import job_of, number_of
from ui.api.log_session import WINDOW_BYTES, Session, socket_of
from ui.events import Watch
from ui.keys import EVENTS, ROWS
from ui.problems import unknown_job
from ui.row_feed import RowHub
from ui.ws_messages import Messages

FULL_BYTES = 64 * 1024
"""A browser with more than this on the way in this process is left behind."""
NEVER_FULL = 16 * 1024 * 1024
"""More than ever goes out at one time: a feed must not wait for a browser."""


async def row_socket(request: web.Request) -> web.StreamResponse:
    job = job_of(request)
    pinned = number_of(request, "attempt", 0, 0, 1_000_000)
    rank = number_of(request, "rank", 0, 0, 100_000)
    window = number_of(request, "window", 0, 0, WINDOW_BYTES)
    try:
        async with request.app[EVENTS].watch(job) as watch:
            check_job(request, watch.record)
            async with socket_of(request) as ws:
                viewer = RowViewer(ws, request.transport, window)
                await RowSession(ws, watch, pinned, rank, request.app[ROWS], viewer).run()
            return ws
    except NotFound:
        raise unknown_job(job) from None


class RowViewer:
    """One browser, which takes what it can at once."""

    def __init__(
        self, ws: web.WebSocketResponse, transport: asyncio.Transport | None, window: int
    ) -> None:
        """``window`` 0: no limit."""
        self._ws = ws
        self._transport = transport
        self._window = window
        self._sent = 0
        self._seen = 0
        if transport is not None:
            transport.set_write_buffer_limits(high=NEVER_FULL)

    def seen(self, total: int) -> None:
        self._seen = max(self._seen, min(total, self._sent))

    def can_take(self, *, again: bool) -> bool:
        if self._transport is None or self._transport.is_closing() or self._ws.closed:
            return False
        share = 2 if again else 1  # Of one that was behind it is not asked at its very limit.
        waiting = self._transport.get_write_buffer_size()
        unseen = self._sent - self._seen
        return waiting * share <= FULL_BYTES and (not self._window or unseen * share < self._window)

    def give(self, messages: Messages) -> None:
        """Past aiohttp's writer, which would frame them anew for each."""
        assert self._transport is not None, "it could take something"
        self._sent += messages.binary
        self._transport.write(messages.data)


class RowSession(Session):
    """One browser at one job's rows."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        watch: Watch,
        pinned: int,
        rank: int,
        hub: RowHub,
        viewer: RowViewer,
    ) -> None:
        super().__init__(ws, watch, pinned)
        self._rank = rank
        self._hub = hub
        self._viewer = viewer

    def _seen(self, total: int) -> None:
        self._viewer.seen(total)

    async def _show(self, attempt: int) -> None:
        await self._hub.show(self._watch.record, attempt, self._rank, self._viewer)
