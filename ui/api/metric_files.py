"""How do all points of a job become one file?"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import logging
import tempfile
from collections.abc import AsyncGenerator
from typing import IO, Any

from aiohttp import web

from bus.errors import BusError
from bus.metric_blocks import Batch
from bus.metric_store import StoredMetrics
from schemas.metrics import Source
from ui.api.common import number_of, stored_job
from ui.api.metrics import keys_of
from ui.keys import DOWNLOADS, METRICS
from ui.problems import refuse

log = logging.getLogger(__name__)

HEAD = ("attempt", "source", "name", "step", "time", "value")
IN_MEMORY = 8 << 20
"""Bytes of a file that is made before it is sent; more lie on the disk meanwhile."""
PIECE = 256 << 10
ROWS = 50_000
"""Of one group of a Parquet file."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A name that begins so would be run by a spreadsheet."""


async def csv_metrics(request: web.Request) -> web.StreamResponse:
    chosen = await attempts_of(request)
    response = answer_to(request, "text/csv; charset=utf-8", "csv")
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    async with request.app[DOWNLOADS].passed():
        await response.prepare(request)
        try:
            await response.write((",".join(HEAD) + "\n").encode())
            async for attempt, batch in batches(request, chosen):
                text = await asyncio.to_thread(csv_rows, attempt, batch)
                await response.write(text)
            await response.write_eof()
        except BusError as error:
            # Half a file must not look like a whole one.
            log.warning("%s is cut off: %s", request.path, error)
            if request.transport is not None:
                request.transport.abort()
    return response


async def parquet_metrics(request: web.Request) -> web.StreamResponse:
    chosen = await attempts_of(request)
    try:
        from pyarrow import parquet
    except ImportError:
        detail = "Install pyarrow where the page runs, or take metrics.csv."
        raise refuse(501, "no_parquet", "There is no Parquet here", detail) from None
    response = answer_to(request, "application/vnd.apache.parquet", "parquet")
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    async with request.app[DOWNLOADS].passed():
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            with parquet.ParquetWriter(file, arrow_schema()) as writer:
                async for attempt, batch in batches(request, chosen):
                    await asyncio.to_thread(write_rows, writer, attempt, batch)
            await send(request, response, file)
    return response


async def send(request: web.Request, response: web.StreamResponse, file: IO[bytes]) -> None:
    response.content_length = file.tell()
    file.seek(0)
    await response.prepare(request)
    while piece := await asyncio.to_thread(file.read, PIECE):
        await response.write(piece)
    await response.write_eof()


async def attempts_of(request: web.Request) -> list[StoredMetrics]:
    record = (await stored_job(request)).record
    number = number_of(request, "attempt", 0, 0, 1_000_000)
    stored = await request.app[METRICS].store.attempts(record.id)
    chosen = [one for one in stored if not number or one.place.attempt == number]
    if not any(one.head.anything for one in chosen):
        raise refuse(404, "no_metrics", "There are no metrics", "Nothing was measured by now.")
    for one in chosen[-1:]:
        keys_of(request, one.head)  # what does not exist is told before anything is sent
    return chosen


async def batches(
    request: web.Request, chosen: list[StoredMetrics]
) -> AsyncGenerator[tuple[int, Batch], None]:
    wanted = set(request.query.getall("series", []))
    for stored in chosen:
        keys = None
        if wanted:
            named = [one for one in stored.head.series if one.key in wanted or one.name in wanted]
            keys = {(one.source, one.name) for one in named}
        parts = request.app[METRICS].parts(stored, keys)
        async with contextlib.aclosing(parts) as source:
            async for batch in source:
                yield stored.place.attempt, batch


def answer_to(request: web.Request, kind: str, ending: str) -> web.StreamResponse:
    name = f"{request.match_info['job']}.{ending}"
    return web.StreamResponse(
        headers={
            "Content-Type": kind,
            "Content-Disposition": f'attachment; filename="metrics-{name}"',
        }
    )


def csv_rows(attempt: int, batch: Batch) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for (source, name), points in batch.items():
        shown = csv_name(name)
        for step, time, value in zip(points.steps, points.times, points.values, strict=True):
            writer.writerow((attempt, source.value, shown, step, f"{time:.3f}", csv_number(value)))
    return text.getvalue().encode("utf-8", "replace")


def csv_name(name: str) -> str:
    return f"'{name}" if name.startswith(FORMULA) else name


def csv_number(value: float) -> str:
    return "NaN" if value != value else repr(value)


def arrow_schema() -> Any:
    import pyarrow

    kinds = (
        *(pyarrow.int32(), pyarrow.string(), pyarrow.string()),
        *(pyarrow.int64(), pyarrow.float64(), pyarrow.float64()),
    )
    return pyarrow.schema(list(zip(HEAD, kinds, strict=True)))


def write_rows(writer: Any, attempt: int, batch: Batch) -> None:
    import pyarrow

    for (source, name), points in batch.items():
        for start in range(0, len(points), ROWS):
            part = points.part(start, start + ROWS)
            count = len(part)
            columns = [
                *([attempt] * count, [Source(source).value] * count, [name] * count),
                *(part.steps, part.times, part.values),
            ]
            writer.write_table(
                pyarrow.table(dict(zip(HEAD, columns, strict=True)), schema=arrow_schema())
            )
