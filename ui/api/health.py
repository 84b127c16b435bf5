"""Is this process well, and what are its figures?"""

from __future__ import annotations

import asyncio

from aiohttp import web

from bus import subjects
from bus.errors import BusError
from schemas.job import State
from schemas.requests import JobList, ListJobs
from ui.api.workers import workers_of
from ui.keys import BUS, CONFIG, EVENTS, HUB, ROWS, SOCKETS
from ui.problems import refuse

METRICS_SECONDS = 2.0


async def healthz(_request: web.Request) -> web.Response:
    """The process answers."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """The bus is connected."""
    if not request.app[BUS].connected:
        raise refuse(503, "bus_away", "The bus is not connected", "Stoker is looking for NATS.")
    return web.Response(text="ready\n")


async def metrics(request: web.Request) -> web.Response:
    """Prometheus' text format."""
    app = request.app
    lines = [
        *family(
            "stoker_build_info",
            "gauge",
            "Version of this process.",
            {f'version="{app[CONFIG].version}"': 1},
        ),
        *family(
            "stoker_bus_connected",
            "gauge",
            "Whether NATS is connected.",
            {"": int(app[BUS].connected)},
        ),
        *family("stoker_websockets", "gauge", "Open WebSockets.", {"": len(app[SOCKETS].open)}),
        *family("stoker_log_viewers", "gauge", "Readers of logs.", viewers(app)),
        *family("stoker_log_feeds", "gauge", "Logs that are read.", feeds(app)),
        *family("stoker_list_viewers", "gauge", "Open lists.", {"": app[EVENTS].list_viewers}),
        *family("stoker_jobs", "gauge", "Jobs by state.", await jobs_by_state(app)),
        *family("stoker_workers", "gauge", "Workers by presence.", await workers_by_presence(app)),
    ]
    return web.Response(text="\n".join(lines) + "\n", headers={"Cache-Control": "no-store"})


def viewers(app: web.Application) -> dict[str, int]:
    return {'by="bytes"': app[HUB].viewers, 'by="rows"': app[ROWS].viewers}


def feeds(app: web.Application) -> dict[str, int]:
    return {'by="bytes"': app[HUB].feeds, 'by="rows"': app[ROWS].feeds}


def family(name: str, kind: str, text: str, values: dict[str, int]) -> list[str]:
    samples = [
        f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"
        for labels, value in values.items()
    ]
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *samples] if samples else []


async def jobs_by_state(app: web.Application) -> dict[str, int]:
    subject = subjects.request("catalog", "list")
    try:
        answer = await app[BUS].request(
            subject, ListJobs(limit=1), JobList, timeout=METRICS_SECONDS, attempts=1
        )
    except BusError:
        return {}
    return {f'state="{state}"': answer.counts.get(state, 0) for state in State}


async def workers_by_presence(app: web.Application) -> dict[str, int]:
    try:
        async with asyncio.timeout(METRICS_SECONDS):
            workers = await workers_of(app)
    except (BusError, TimeoutError):
        return {}
    online = sum(worker.online for worker in workers)
    return {'presence="online"': online, 'presence="offline"': len(workers) - online}
