"""How is the readable log given as plain text: rows as a terminal would show them, streamed?

``GET /api/v1/jobs/{job}/log?view=readable``; ``lines``, ``tail``, ``since`` and ``until`` count its
rows, ``colour=0`` leaves colours out.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from aiohttp import web

from bus.row_search import COLOUR
from bus.rows import RowLog
from schemas.job import Record
from schemas.log import Cursor
from ui.keys import ROW_LOGS
from ui.row_window import asked_rows, bad
from ui.windows import Window


async def readable_log(
    request: web.Request, record: Record, cursor: Cursor, window: Window | None
) -> web.StreamResponse:
    colour = colour_of(request)
    if not cursor.attempt:
        return web.Response(text="", headers=headers_of(request, record, cursor, 1))
    logs = request.app[ROW_LOGS]
    log = await logs.get(record, cursor)
    async with logs.gate.passed():
        first, last = await asked_rows(log, window)
        begin = cursor._replace(offset=await log.offset_of(first)) if log.total else cursor
    response = web.StreamResponse(headers=headers_of(request, record, begin, first))
    await response.prepare(request)
    if request.method != "HEAD":
        await write_rows(response, log, first, last, colour)
    return response


async def write_rows(
    response: web.StreamResponse, log: RowLog, first: int, last: int, colour: bool
) -> None:
    if first <= last:
        async with aclosing(log.all(first, last)) as runs:
            async for rows in runs:
                data = rows.data
                if not colour and b"\x1b" in data:
                    data = await asyncio.to_thread(COLOUR.sub, b"", data)
                await response.write(data + b"\n")
    await response.write_eof()


def colour_of(request: web.Request) -> bool:
    text = request.query.get("colour", "1")
    if text not in ("0", "1"):
        raise bad("colour", "colour is 0 to leave colours out, else 1")
    return text == "1"


def headers_of(request: web.Request, record: Record, begin: Cursor, line: int) -> dict[str, str]:
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Stoker-Line": str(line),
        "Stoker-Cursor": str(begin),
    }
    if request.query.get("download"):
        name = f"{record.id}.{begin.attempt}.{begin.rank}.txt"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return headers
