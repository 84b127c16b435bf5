"""Under which keys does the application keep what its handlers share?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from schemas.people import Principal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Set

    from bus.chunks import ChunkStore
    from bus.connection import Bus
    from bus.objects import Objects
    from bus.records import Records
    from schemas.access import Action
    from ui.api.pieces import SentPieces
    from ui.api.sparks import Sparks
    from ui.config import UiConfig
    from ui.data_reader import DataReader
    from ui.events import Events
    from ui.gate import Gate
    from ui.hub import Hub
    from ui.logs import LogReader
    from ui.metric_feed import MetricFeeds
    from ui.metrics import MetricReader
    from ui.oidc import Provider
    from ui.outputs import OutputReader
    from ui.owners import Owners
    from ui.principals import Principals
    from ui.row_feed import RowHub
    from ui.row_logs import RowLogs
    from ui.searches import Searches


class Sockets:
    """The open WebSockets of this process, each with the request that it was opened by."""

    def __init__(self) -> None:
        self.open: dict[web.WebSocketResponse, web.Request] = {}


CONFIG: web.AppKey[UiConfig] = web.AppKey("config")
BUS: web.AppKey[Bus] = web.AppKey("bus")
OBJECTS: web.AppKey[Objects] = web.AppKey("objects")
CHUNKS: web.AppKey[ChunkStore] = web.AppKey("chunks")
SENT: web.AppKey[SentPieces] = web.AppKey("sent_pieces")
RECORDS: web.AppKey[Records] = web.AppKey("records")
EVENTS: web.AppKey[Events] = web.AppKey("events")
HUB: web.AppKey[Hub] = web.AppKey("hub")
LOGS: web.AppKey[LogReader] = web.AppKey("logs")
ROWS: web.AppKey[RowHub] = web.AppKey("rows")
ROW_LOGS: web.AppKey[RowLogs] = web.AppKey("row_logs")
SEARCHES: web.AppKey[Searches] = web.AppKey("searches")
OUTPUTS: web.AppKey[OutputReader] = web.AppKey("outputs")
DATA: web.AppKey[DataReader] = web.AppKey("data")
DOWNLOADS: web.AppKey[Gate] = web.AppKey("downloads")
UPLOADS: web.AppKey[asyncio.Semaphore] = web.AppKey("uploads")
METRICS: web.AppKey[MetricReader] = web.AppKey("metrics")
METRIC_FEEDS: web.AppKey[MetricFeeds] = web.AppKey("metric_feeds")
CURVES_GATE: web.AppKey[Gate] = web.AppKey("curves_gate")
SPARKS: web.AppKey[Sparks] = web.AppKey("sparks")
SOCKETS: web.AppKey[Sockets] = web.AppKey("sockets")
OWNERS: web.AppKey[Owners] = web.AppKey("owners")
OIDC: web.AppKey[Provider] = web.AppKey("oidc")
"""Where people may sign in, too; not there where none is configured."""
OIDC_GATE: web.AppKey[Gate] = web.AppKey("oidc_gate")
PRINCIPALS: web.AppKey[Principals] = web.AppKey("principals")
ACTIONS: web.AppKey[Mapping[tuple[str, str], Action]] = web.AppKey("actions")
"""Method and path to what a request there does."""
PAGES_OF: web.AppKey[Set[tuple[str, str]]] = web.AppKey("pages")
"""Those of them that a person looks at."""
PRINCIPAL: web.RequestKey[Principal | None] = web.RequestKey("principal")
"""Who asks; None where the address needs nobody."""
