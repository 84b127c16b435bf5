"""How does this process read one attempt's log from the store?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from bus.connection import Bus
from bus.logs import LogGap, read_attempt
from schemas.job import Record
from schemas.log import Cursor, LogChunk, LogIndex
from ui.streams import reading

Piece = LogChunk | LogGap


class LogReader:
    """Everything of one attempt and rank behind a cursor, to its end."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def read(
        self, record: Record, after: Cursor, wait: bool = True, index: LogIndex | None = None
    ) -> AsyncIterator[Piece]:
        """With ``wait`` to the end of the attempt, without to the end of what is stored.

        ``index`` is what the archive holds, where it was read just now.
        """
        source = read_attempt(self._bus, record, after, wait=wait, index=index)
        async with reading(source) as pieces:
            async for piece in pieces:
                yield piece
