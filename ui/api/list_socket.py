"""How does the live list reach a browser?

``GET /api/v1/events/ws``: ``{"type":"jobs","jobs":[…]}`` holds the rows that changed;
``{"type":"reload"}`` says that too many did. A client loads the list after it has connected.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import WSMsgType, web

from ui.admission import who
from ui.api.log_session import SEND_SECONDS, socket_of
from ui.events import ListViewer
from ui.frames import control_frame
from ui.keys import EVENTS

log = logging.getLogger(__name__)


async def list_socket(request: web.Request) -> web.StreamResponse:
    async with socket_of(request) as ws:
        with request.app[EVENTS].list_viewer(who(request).sees) as viewer:
            try:
                async with asyncio.TaskGroup() as group:
                    listener = group.create_task(listen(ws))
                    teller = group.create_task(tell(ws, viewer))
                    await asyncio.wait((listener, teller), return_when=asyncio.FIRST_COMPLETED)
                    for task in (listener, teller):
                        task.cancel()
            except* (ConnectionError, TimeoutError):
                log.info("a list's viewer went away or took nothing")
    return ws


async def listen(ws: web.WebSocketResponse) -> None:
    async for message in ws:
        if message.type is WSMsgType.ERROR:
            return


async def tell(ws: web.WebSocketResponse, viewer: ListViewer) -> None:
    frame = control_frame("hello")
    while True:
        async with asyncio.timeout(SEND_SECONDS):
            await ws.send_str(frame)
        frame = await viewer.get()
