"""How does the report of a failure get the lines that say why?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from agent.quotes import quote_of
from agent.spool import Piece, SpoolReader, add_span
from schemas.job import AttemptEnd, Quote
from schemas.stream import Stream
from schemas.worker import Report

log = logging.getLogger(__name__)

TAIL = 256 << 10
"""Bytes of the log's end that are looked at."""
SECONDS = 2.0
"""How long the end waits for its quote at most."""


async def with_quote(report: Report, spool: Path) -> Report:
    """The report itself where nothing failed, or where nothing is found: no end waits for it."""
    end = report.end
    if end is None or end.succeeded:
        return report
    try:
        async with asyncio.timeout(SECONDS):
            quote = await asyncio.to_thread(find, spool, end, report.started_at is not None)
    except Exception:
        log.exception("%s.%d has no quote", report.job, report.attempt)
        return report
    return report.model_copy(update={"end": end.model_copy(update={"quote": quote})})


def find(spool: Path, end: AttemptEnd, ran: bool) -> Quote | None:
    tail = read_tail(spool, end.log_ends.get(0, 0))
    return quote_of(tail, end, ran=ran) if tail is not None else None


def read_tail(spool: Path, end: int, most: int = TAIL) -> Piece | None:
    """The last bytes before ``end``; None where the spool holds none of them."""
    spans: list[tuple[Stream, int]] = []
    parts: list[bytes] = []
    start, time = end, 0.0
    with contextlib.closing(SpoolReader(spool, max(0, end - most))) as reader:
        while reader.offset < end and (piece := reader.read(most)) is not None:
            start = piece.offset if not parts else start
            parts.append(piece.data)
            time = piece.time
            for stream, length in piece.spans:
                add_span(spans, stream, length)
    return Piece(start, time, tuple(spans), b"".join(parts)) if parts else None
