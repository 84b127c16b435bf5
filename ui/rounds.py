"""Is whoever holds a WebSocket open still allowed to? Asked again every minute."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import WSCloseCode, web

from bus.errors import BusError
from schemas.people import Principal
from ui.admission import principal_of
from ui.keys import CONFIG, PRINCIPAL, SOCKETS

log = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
SIGNED_OUT = 4401
"""Close code: the session, token or link has ended. The page goes to where one signs in."""
AT_ONCE = 32
"""Sockets that are closed at one time: each may take some seconds."""


class Rounds:
    """Looks at every open socket of this process."""

    def __init__(self, app: web.Application, every: float = EVERY_SECONDS) -> None:
        self._app = app
        self._every = every
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Until cancelled."""
        while self._app[CONFIG].sign_in:
            await asyncio.sleep(self._every)
            try:
                await self.once()
            except Exception:
                log.exception("a round of the open sockets failed; the next one goes on")

    async def once(self) -> None:
        async with asyncio.TaskGroup() as group:
            for ws, request in list(self._app[SOCKETS].open.items()):
                group.create_task(self._look(ws, request))

    async def _look(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        async with self._slots:
            try:
                found = await principal_of(request)
            except BusError as error:
                # Who had been let in stays while nobody can tell; nobody new comes in.
                log.warning("whether a viewer may stay cannot be told now: %s", error)
                return
            if found is None:
                await close(ws, SIGNED_OUT, b"signed out")
            elif rights(found) != rights(request[PRINCIPAL]):
                # What it may see was settled at its start: it comes back, and is asked anew.
                await close(ws, WSCloseCode.SERVICE_RESTART, b"other rights now")


async def close(ws: web.WebSocketResponse, code: int, why: bytes) -> None:
    """One that has not begun yet is left alone: it has been asked just now."""
    if not ws.prepared:
        return
    try:
        await ws.close(code=code, message=why)
    except ConnectionError:
        log.info("a viewer went away before it was told to")


def rights(who: Principal | None) -> tuple[object, ...]:
    return () if who is None else (who.name, who.role, who.sees, who.jobs)
