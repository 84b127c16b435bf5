"""Under which keys does the application keep what its handlers share?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    import asyncio

    from bus.connection import Bus
    from bus.objects import Objects
    from bus.records import Records
    from ui.config import UiConfig
    from ui.events import Events
    from ui.hub import Hub
    from ui.logs import LogReader
    from ui.row_feed import RowHub
    from ui.row_logs import RowLogs
    from ui.searches import Searches


class Sockets:
    """The open WebSockets of this process."""

    def __init__(self) -> None:
        self.open: set[web.WebSocketResponse] = set()


CONFIG: web.AppKey[UiConfig] = web.AppKey("config")
BUS: web.AppKey[Bus] = web.AppKey("bus")
OBJECTS: web.AppKey[Objects] = web.AppKey("objects")
RECORDS: web.AppKey[Records] = web.AppKey("records")
EVENTS: web.AppKey[Events] = web.AppKey("events")
HUB: web.AppKey[Hub] = web.AppKey("hub")
LOGS: web.AppKey[LogReader] = web.AppKey("logs")
ROWS: web.AppKey[RowHub] = web.AppKey("rows")
ROW_LOGS: web.AppKey[RowLogs] = web.AppKey("row_logs")
SEARCHES: web.AppKey[Searches] = web.AppKey("searches")
UPLOADS: web.AppKey[asyncio.Semaphore] = web.AppKey("uploads")
SOCKETS: web.AppKey[Sockets] = web.AppKey("sockets")
