"""How are the rows of a log read and searched over HTTP?

``GET /api/v1/jobs/{job}/log/rows`` gives one frame of rows, ``/log/search`` the numbers of those
that match. What ``\\r`` and cursor movement painted over is resolved: a row is its last state.
"""

from __future__ import annotations

from aiohttp import web

from bus.row_search import Query
from bus.rows import RowLog
from schemas.job import Record
from schemas.log import Cursor
from ui.api.common import json_answer, number_of, stored_job
from ui.api.log_text import attempt_of
from ui.keys import ROW_LOGS, SEARCHES
from ui.problems import refuse
from ui.row_frames import Position, empty_frame, position_of, rows_frame
from ui.row_logs import Key
from ui.row_window import Place, matching, read_place, read_query, rows_of
from ui.views import FoundRows

MOST_FOUND = 20_000
"""Numbers of rows in one answer."""


async def log_rows(request: web.Request) -> web.Response:
    place, query = read_place(request), read_query(request)
    record = (await stored_job(request)).record
    cursor = cursor_of(request, record)
    if not cursor.attempt:
        return frame_answer(empty_frame(nothing_yet(record, cursor), 1))
    logs = request.app[ROW_LOGS]
    log = await logs.get(record, cursor, row=place.first or 0)
    if query is not None:
        return frame_answer(await matching_frame(request, log, cursor, place, query))
    async with logs.gate.passed():
        first = await place.row(log)
        rows = await rows_of(log, first, place.count)
    position = position_of(log, cursor)
    return frame_answer(rows_frame(position, rows) if rows else empty_frame(position, first))


async def matching_frame(
    request: web.Request, log: RowLog, cursor: Cursor, place: Place, query: Query
) -> bytes:
    hits = await request.app[SEARCHES].hits(key_of(request, cursor), log, query)
    numbers = hits.numbers
    async with request.app[ROW_LOGS].gate.passed():
        first = await place.match(log, numbers)
        found = await matching(log, numbers[first - 1 : first - 1 + place.count])
    position = position_of(log, cursor)
    told = {"numbers": found.numbers, "matches": hits.count}
    if not found.numbers:
        return empty_frame(position, first, **told)
    return rows_frame(position, found.rows(first), **told)


async def log_search(request: web.Request) -> web.Response:
    query = read_query(request)
    if query is None:
        raise refuse(422, "bad_query", "q is missing", "Say with q what is to be found.")
    record = (await stored_job(request)).record
    cursor = cursor_of(request, record)
    if not cursor.attempt:
        return json_answer(FoundRows(complete=record.state.ended))
    log = await request.app[ROW_LOGS].get(record, cursor)
    hits = await request.app[SEARCHES].hits(key_of(request, cursor), log, query)
    answer = FoundRows(
        count=hits.count,
        rows=tuple(hits.numbers[:MOST_FOUND]),
        more=hits.count > MOST_FOUND,
        total=hits.total,
        complete=log.complete,
    )
    return json_answer(answer)


def cursor_of(request: web.Request, record: Record) -> Cursor:
    """Attempt and rank; attempt 0 before the first."""
    rank = number_of(request, "rank", 0, 0, 100_000)
    attempt = attempt_of(request, record)
    return Cursor(attempt.number if attempt else 0, rank)


def key_of(request: web.Request, cursor: Cursor) -> Key:
    return request.match_info["job"], cursor.attempt, cursor.rank


def nothing_yet(record: Record, cursor: Cursor) -> Position:
    return Position(0, cursor.rank, 0, 0, 0, 0, record.state.ended)


def frame_answer(frame: bytes) -> web.Response:
    return web.Response(body=frame, content_type="application/octet-stream")
