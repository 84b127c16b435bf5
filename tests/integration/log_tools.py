"""What do tests of logs need: a job's record, a worker that prints, a reader's text?"""

from __future__ import annotations

import time
from typing import Any

from bus.connection import Bus
from bus.errors import NotFound
from bus.logs import LogGap, LogWriter
from bus.records import Records
from schemas.job import Attempt, AttemptEnd, Fact, Reason, Record, State
from schemas.log import LogChunk, Span, Stream
from schemas.spec import JobSpec
from services.archive.sealing import Rank

JOB = "00000001-0000"
RANK = Rank(JOB, 1, 0, "w1")


def attempt(number: int = 1, end: int | None = None, worker: str = "w1") -> Attempt:
    told = (
        AttemptEnd(reason=Reason.EXIT, exit_code=0, log_ends={0: end}) if end is not None else None
    )
    return Attempt(
        number=number, worker=worker, claim="c", nonce="n", granted_at=1.0, end=told,
        ended_at=time.time() if told else None,
    )  # fmt: skip


def record(*attempts: Attempt, state: State = State.RUNNING) -> Record:
    return Record(
        id=JOB, owner="me", spec=JobSpec(), bundle="b", state=state, submitted_at=1.0,
        changed_at=time.time(), attempt=len(attempts), attempts=attempts,
    )  # fmt: skip


async def write(bus: Bus, after: Record, fact: Fact) -> None:
    records = Records(bus)
    try:
        expected = (await records.get(JOB)).sequence
    except NotFound:
        expected = 0
    await records.write(after, fact, expected)


def chunk(offset: int, data: bytes, number: int = 1) -> LogChunk:
    return LogChunk(number, 0, offset, 1.0, (Span(Stream.STDOUT, len(data)),), data)


async def say(bus: Bus, *lines: bytes, number: int = 1, worker: str = "w1") -> int:
    writer = LogWriter(bus, JOB, number, 0, worker)
    offset = 0
    for line in lines:
        await writer.publish(chunk(offset, line, number))
        offset += len(line)
    return offset


async def text(pieces: Any) -> bytes:
    found = b""
    async for piece in pieces:
        found += f"<{piece.size} lost>".encode() if isinstance(piece, LogGap) else piece.data
    return found
