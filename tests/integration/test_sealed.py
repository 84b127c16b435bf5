"""A sealed block that comes broken is read again before it counts as lost."""

from __future__ import annotations

import asyncio
import logging

import pytest

from bus import sealed
from bus.blocks import pack_block
from bus.connection import Bus
from bus.objects import Objects
from bus.sealed import LogArchive
from schemas.log import LogChunk, Span, Stream

CHUNK = LogChunk(
    attempt=1, rank=0, offset=0, data=b"line\n" * 9, time=1.0, spans=(Span(Stream.STDOUT, 45),)
)


class Heard(logging.Handler):
    """Sets an event for each message that holds a word."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.word in record.getMessage():
            self.event.set()


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_block_that_comes_broken_is_read_again(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    monkeypatch.setattr(sealed, "PAUSE", 0.2)
    archive = LogArchive(bus)
    data = pack_block([CHUNK])
    block = await archive.write_block(("0d4k8q2m-7xv3", 1, 0), [CHUNK], data, inline=False)
    info = await Objects(bus).info("logs", block.object)
    await bus.api("STREAM.PURGE.OBJ_logs", {"filter": info.chunk_subject})
    heard = Heard("is read again")
    logger = logging.getLogger("bus.sealed")
    logger.addHandler(heard)
    logger.setLevel(logging.INFO)
    try:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(archive.chunks(1, 0, block))
            await heard.event.wait()
            if comes_back:
                await bus.append(info.chunk_subject, data)
        assert reading.result() == ([CHUNK] if comes_back else [])
    finally:
        logger.removeHandler(heard)
