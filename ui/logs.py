"""How does this process read one attempt's log from the store?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from bus.connection import Bus
from bus.logs import LogGap, read
from schemas.log import Cursor, LogChunk
from ui.hub import Read


def log_reader(bus: Bus) -> Read:
    def reader(job: str, after: Cursor) -> AsyncIterator[LogChunk | LogGap]:
        return read(bus, job, after, follow=True)

    return reader
