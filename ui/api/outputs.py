"""How are a job's outputs listed and read over HTTP?

A job may have written anything: files come as attachments, or as plain text and images of a few
kinds, in a sandbox, and the browser may not guess what they are.
"""

from __future__ import annotations

import bisect
import contextlib
import logging
from collections.abc import AsyncGenerator

from aiohttp import web

from bus.errors import BusError
from schemas.job import Record
from schemas.outputs import OutputFile
from ui.api.common import json_answer, number_of, stored_job
from ui.api.files import SANDBOX, answer_to, span_of
from ui.gate import Gate
from ui.keys import DOWNLOADS, OUTPUTS
from ui.output_kinds import inline_type
from ui.output_views import OutputList, listed
from ui.outputs import Listing
from ui.problems import HttpProblem, refuse
from ui.zipping import zipped

log = logging.getLogger(__name__)

MOST_ROWS = 5000
DOWNLOADS_AT_ONCE, DOWNLOADS_WAITING = 64, 256


def download_gate() -> Gate:
    return Gate(DOWNLOADS_AT_ONCE, DOWNLOADS_WAITING, "downloads")


async def list_outputs(request: web.Request) -> web.Response:
    record = (await stored_job(request)).record
    attempts = await request.app[OUTPUTS].attempts(record.id)
    attempt = attempt_of(request, record, attempts)
    limit = number_of(request, "limit", 1000, 1, MOST_ROWS)
    found = await request.app[OUTPUTS].listing(record.id, attempt)
    if found is None:
        return json_answer(OutputList(job=record.id, attempt=attempt, attempts=tuple(attempts)))
    files, more = page(found, request.query.get("under", ""), request.query.get("after"), limit)
    return json_answer(listed(found.head, found.manifest, attempts, files, more))


def page(
    found: Listing, under: str, after: str | None, limit: int
) -> tuple[list[OutputFile], bool]:
    """Files in the order of their paths, behind ``after``, in the folder ``under``."""
    files = found.manifest.files
    start = bisect.bisect_right(files, after, key=lambda one: one.path) if after else 0
    prefix = f"{under.strip('/')}/" if under.strip("/") else ""
    chosen: list[OutputFile] = []
    for file in files[start:]:
        if file.path.startswith(prefix):
            if len(chosen) == limit:
                return chosen, True
            chosen.append(file)
    return chosen, False


def attempt_of(request: web.Request, record: Record, stored: list[int]) -> int:
    """The one that is asked for, else the newest that has outputs."""
    newest = max((one.number for one in record.attempts), default=0)
    number = number_of(request, "attempt", 0, 0, 1_000_000)
    if number > newest:
        detail = f"The job has no attempt {number}; its newest is {newest}."
        raise refuse(404, "unknown_attempt", "There is no such attempt", detail)
    return number or max(stored, default=record.attempt)


async def found_outputs(request: web.Request) -> Listing:
    record = (await stored_job(request)).record
    reader = request.app[OUTPUTS]
    number = number_of(request, "attempt", 0, 0, 1_000_000)
    attempts = [] if number else await reader.attempts(record.id)
    found = await reader.listing(record.id, attempt_of(request, record, attempts))
    if found is None:
        raise refuse(404, "no_outputs", "There are no outputs", "Nothing of them is stored.")
    return found


async def read_output(request: web.Request) -> web.StreamResponse:
    found = await found_outputs(request)
    path = request.match_info["path"]
    file = found.by_path.get(path)
    if file is None:
        raise unknown_output(path)
    shown = inline_type(file.path) if request.query.get("inline") else None
    span = span_of(request, file.size, etag(file))
    response = answer_to(file.path, file.size, etag(file), span, shown)
    if request.method == "HEAD" or span.start == span.stop:
        await response.prepare(request)
        return response
    async with request.app[DOWNLOADS].passed():
        source = request.app[OUTPUTS].store.read(found.head.job, file, span.start, span.stop)
        return await sent(request, response, source)


def unknown_output(path: str) -> HttpProblem:
    detail = f"The attempt's outputs have no file {path[:200]!r}."
    return refuse(404, "unknown_output", "There is no such file", detail)


def etag(file: OutputFile) -> str:
    return f'"{file.digest.hex()}"'


async def zip_outputs(request: web.Request) -> web.StreamResponse:
    found = await found_outputs(request)
    head, store = found.head, request.app[OUTPUTS].store
    name = f"{head.job}.{head.attempt}"
    files, _ = page(found, request.query.get("under", ""), None, len(found.manifest.files))
    headers = {
        "Content-Type": "application/zip",
        "Content-Disposition": f'attachment; filename="{name}.zip"',
        "Content-Security-Policy": SANDBOX,
    }
    response = web.StreamResponse(headers=headers)
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    async with request.app[DOWNLOADS].passed():
        source = zipped(name, files, lambda file: store.read(head.job, file))
        return await sent(request, response, source)


async def sent(
    request: web.Request, response: web.StreamResponse, source: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """What cannot be read to its end is cut off: half a file must not look like a whole one."""
    await response.prepare(request)
    try:
        async with contextlib.aclosing(source) as pieces:
            async for data in pieces:
                await response.write(data)
        await response.write_eof()
    except BusError as error:
        log.warning("%s is cut off: %s", request.path, error)
        if request.transport is not None:
            request.transport.abort()
    return response
