"""How is a log read as plain text, whole or by ranges?

``GET /api/v1/jobs/{job}/log?attempt=&rank=&download=1`` gives what is stored by now; ``lines``,
``tail``, ``since`` and ``until`` give a part of it, with headers that say where it begins.
``view=readable`` gives it as a terminal would show it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator

from aiohttp import web

from bus import subjects
from bus.log_places import log_map
from bus.logs import UNTOLD, LogGap, final_offset
from bus.sealed import LogArchive
from schemas.job import Attempt, Record
from schemas.log import Cursor, LogChunk, LogIndex
from schemas.requests import LogEnd, LogPosition
from ui.api.common import number_of, stored_job
from ui.api.log_readable import readable_log
from ui.keys import BUS, LOGS
from ui.problems import refuse
from ui.ranges import ByteRange, Unsatisfiable, read_range
from ui.row_logs import deleted_log
from ui.streams import reading
from ui.windows import BadWindow, Window, read_window

log = logging.getLogger(__name__)

POSITION_SECONDS = 2.0
PADDING = b"."


async def log_text(request: web.Request) -> web.StreamResponse:
    record = (await stored_job(request)).record
    attempt = attempt_of(request, record)
    rank = number_of(request, "rank", 0, 0, 100_000)
    if readable(request):
        cursor = Cursor(attempt.number if attempt else 0, rank)
        return await readable_log(request, record, cursor, window_of(request))
    index = await sealed_index(request, record, attempt, rank)
    span, headers = await part_of(request, record, attempt, rank, index)
    response = answer_to(request, record, attempt, rank, span, headers)
    await response.prepare(request)
    if request.method == "HEAD" or attempt is None or span.start == span.stop:
        return response
    cursor = Cursor(attempt.number, rank, span.start)
    over = final_offset(record, attempt.number, rank) is not None
    source = request.app[LOGS].read(record, cursor, wait=over, index=index)
    async with reading(source) as pieces:
        async for data in bytes_of(pieces, span):
            await response.write(data)
    await response.write_eof()
    return response


def readable(request: web.Request) -> bool:
    view = request.query.get("view", "raw")
    if view not in ("raw", "readable"):
        raise refuse(422, "bad_query", "view is not valid", "view is raw or readable.")
    return view == "readable"


def attempt_of(request: web.Request, record: Record) -> Attempt | None:
    """The one that is asked for, else the newest; None before the first."""
    number = number_of(request, "attempt", record.attempt, 0, 1_000_000)
    found = next((one for one in record.attempts if one.number == number), None)
    if found is None and number:
        newest = max((one.number for one in record.attempts), default=0)
        detail = f"The job has no attempt {number}; its newest is {newest}."
        raise refuse(404, "unknown_attempt", "There is no such attempt", detail)
    return found


async def stored_size(app: web.Application, record: Record, attempt: Attempt, rank: int) -> int:
    """Bytes that the whole log has, or has by now."""
    final = final_offset(record, attempt.number, rank)
    if final is not None and final != UNTOLD:
        return final
    subject = subjects.request("archive", "position", attempt.worker)
    message = LogPosition(job=record.id, attempt=attempt.number, rank=rank)
    answer = await app[BUS].request(subject, message, LogEnd, timeout=POSITION_SECONDS, attempts=3)
    return answer.offset


async def sealed_index(
    request: web.Request, record: Record, attempt: Attempt | None, rank: int
) -> LogIndex | None:
    """What the archive holds of the log; refuses where it was deleted."""
    if attempt is None:
        return None
    stored = await LogArchive(request.app[BUS]).index(record.id, attempt.number, rank)
    if stored is not None and stored.index.deleted:
        raise deleted_log(attempt.number, stored.index.deleted)
    return stored.index if stored else None


async def part_of(
    request: web.Request, record: Record, attempt: Attempt | None, rank: int, index: LogIndex | None
) -> tuple[ByteRange, dict[str, str]]:
    """The bytes that are asked for, and the headers that name them."""
    window = window_of(request)
    if attempt is None:
        return ByteRange(0, 0), {}
    if window is not None:
        places = await log_map(request.app[BUS], record, attempt, rank, index)
        start, stop = await window.place(places)
        cursor = Cursor(attempt.number, rank, start.offset)
        names = {"Stoker-Line": str(start.line), "Stoker-Cursor": str(cursor)}
        return ByteRange(start.offset, stop), names
    size = await stored_size(request.app, record, attempt, rank)
    wanted = range_of(request, size)
    if wanted is None:
        return ByteRange(0, size), {}
    return wanted, {"Content-Range": f"bytes {wanted.start}-{wanted.stop - 1}/{size}"}


def window_of(request: web.Request) -> Window | None:
    try:
        return read_window(dict(request.query), time.time())
    except BadWindow as error:
        raise refuse(422, "bad_window", "That part of the log is not valid", f"{error}.") from None


def range_of(request: web.Request, size: int) -> ByteRange | None:
    try:
        return read_range(request.headers.get("Range"), size)
    except Unsatisfiable as error:
        raise refuse(416, "bad_range", "There is no such range", f"{error}.") from None


def answer_to(
    request: web.Request,
    record: Record,
    attempt: Attempt | None,
    rank: int,
    span: ByteRange,
    more: dict[str, str],
) -> web.StreamResponse:
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store",
        **more,
    }
    if request.query.get("download"):
        name = f"{record.id}.{attempt.number if attempt else 0}.{rank}.log"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    status = 206 if "Content-Range" in more else 200
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = span.stop - span.start
    return response


async def bytes_of(
    pieces: AsyncIterator[LogChunk | LogGap], span: ByteRange
) -> AsyncIterator[bytes]:
    """Exactly the bytes of the range; what is missing is said in the place where it is."""
    offset = span.start
    async for piece in pieces:
        match piece:
            case LogChunk():
                data = piece.after(offset).data[: span.stop - offset]
                offset += len(data)
                yield data
            case LogGap():
                stop = min(piece.offset + piece.size, span.stop)
                for data in gap_bytes(stop - offset):
                    yield data
                offset = max(offset, stop)
        if offset >= span.stop:
            return
    for data in gap_bytes(span.stop - offset):
        yield data


def gap_bytes(missing: int) -> list[bytes]:
    """As many bytes as are missing, so that offsets in the file stay those of the log."""
    if missing <= 0:
        return []
    text = f"\n[stoker: {missing} bytes of the log are missing here]\n".encode()
    rest = max(0, missing - len(text))
    block = PADDING * 65535 + b"\n"
    return [text[:missing], *[block] * (rest // len(block)), PADDING * (rest % len(block))]
