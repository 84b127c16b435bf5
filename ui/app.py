"""How do the page and the API start and stop?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import WSCloseCode, web

from bus.chunks import ChunkStore
from bus.connection import Bus
from bus.objects import Objects
from bus.records import Records
from schemas.people import Principal
from ui.admission import admit
from ui.api.common import ask
from ui.api.metrics import curves_gate
from ui.api.outputs import download_gate
from ui.api.pieces import SentPieces
from ui.api.sparks import Sparks
from ui.config import UiConfig
from ui.data_reader import DataReader
from ui.events import Events
from ui.gate import Gate
from ui.hub import Hub
from ui.keys import (
    BUS,
    CHUNKS,
    CONFIG,
    CURVES_GATE,
    DATA,
    DOWNLOADS,
    EVENTS,
    HUB,
    LOGS,
    METRIC_FEEDS,
    METRICS,
    OBJECTS,
    OIDC,
    OIDC_GATE,
    OUTPUTS,
    OWNERS,
    PRINCIPALS,
    RECORDS,
    ROW_LOGS,
    ROWS,
    SEARCHES,
    SENT,
    SOCKETS,
    SPARKS,
    UPLOADS,
    Sockets,
)
from ui.logs import LogReader
from ui.metric_feed import MetricFeeds
from ui.metrics import MetricReader
from ui.not_http import keep_bytes_out_of_logs
from ui.oidc import Provider
from ui.outputs import OutputReader
from ui.owners import Owners
from ui.pages import setup_pages
from ui.principals import Principals
from ui.problems import problems
from ui.rounds import Rounds
from ui.routes import add_routes
from ui.row_feed import RowHub
from ui.row_logs import RowLogs
from ui.searches import Searches
from ui.security import add_headers, guard
from ui.site import listening

log = logging.getLogger(__name__)

READ_BUFFER = 1024 * 1024
"""Bytes of a request's body in memory: uploads run through it."""
SHUTDOWN_SECONDS = 3.0


def build_app(bus: Bus, config: UiConfig) -> web.Application:
    """The application; its background work runs between its startup and its cleanup."""
    keep_bytes_out_of_logs()
    app = web.Application(middlewares=[problems, guard, admit], client_max_size=READ_BUFFER)
    app[CONFIG] = config
    app[BUS] = bus
    app[OBJECTS] = Objects(bus)
    app[CHUNKS] = ChunkStore(bus)
    app[SENT] = SentPieces()
    app[RECORDS] = Records(bus)
    app[LOGS] = LogReader(bus)
    app[OUTPUTS] = OutputReader(bus)
    app[DATA] = DataReader(bus)
    app[DOWNLOADS] = download_gate()
    app[METRICS] = MetricReader(bus)
    app[CURVES_GATE] = curves_gate()
    app[SPARKS] = Sparks()
    app[ROW_LOGS] = RowLogs(bus)
    app[SEARCHES] = Searches()
    app[UPLOADS] = asyncio.Semaphore(config.uploads_at_once)
    app[SOCKETS] = Sockets()
    app[OWNERS] = Owners(app[RECORDS])
    app[PRINCIPALS] = Principals(lambda asked: ask(app, "people", "check", asked, Principal))
    app[OIDC_GATE] = Gate(8, 32, "sign-ins")
    app.cleanup_ctx.append(background)
    if config.sign_in and config.oidc is not None:
        app[OIDC] = Provider(config.oidc)
        app.cleanup_ctx.append(provider)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(close_sockets)
    setup_pages(app)
    add_routes(app)
    return app


async def background(app: web.Application) -> AsyncIterator[None]:
    """The reader of `JOBS` and the feeds of logs, in one group."""
    async with asyncio.TaskGroup() as group:
        app[EVENTS] = Events(app[BUS])
        app[HUB] = Hub(app[LOGS].read, group)
        app[ROWS] = RowHub(app[ROW_LOGS].live, app[LOGS].read, group)
        app[METRIC_FEEDS] = MetricFeeds(app[METRICS], group)
        tasks = [group.create_task(app[EVENTS].run()), group.create_task(Rounds(app).run())]
        yield
        for task in tasks:
            task.cancel()
        app[HUB].close()
        app[ROWS].close()
        app[METRIC_FEEDS].close()
        app[ROW_LOGS].close()


async def provider(app: web.Application) -> AsyncIterator[None]:
    async with app[OIDC]:
        yield


async def close_sockets(app: web.Application) -> None:
    """Every viewer is told to come back: it does so with its cursor."""
    for ws in list(app[SOCKETS].open):
        await ws.close(code=WSCloseCode.GOING_AWAY, message=b"the server restarts")


@asynccontextmanager
async def serving(bus: Bus, config: UiConfig) -> AsyncIterator[str]:
    """Serves as long as the context lasts; gives the page's address."""
    async with served(build_app(bus, config)) as address:
        yield address


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    config = app[CONFIG]
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
        read_bufsize=READ_BUFFER,
    )
    await runner.setup()
    try:
        async with listening(runner, config) as port:
            yield address_of(config, port)
    finally:
        await runner.cleanup()


async def run_ui(bus: Bus, config: UiConfig, on_ready: Callable[[str], None] | None = None) -> None:
    """Serves until cancelled; ``on_ready`` gets the page's address."""
    async with serving(bus, config) as address:
        log.info("the page is at %s", address)
        if on_ready is not None:
            on_ready(address)
        await asyncio.Event().wait()


def address_of(config: UiConfig, port: int) -> str:
    host = "127.0.0.1" if config.host in ("0.0.0.0", "::", "") else config.host
    scheme = "https" if config.certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
