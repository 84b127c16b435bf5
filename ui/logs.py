"""How does this process read one attempt's log from the store?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from bus.connection import Bus
from bus.logs import LogGap, read_attempt
from schemas.job import Record
from schemas.log import Cursor, LogChunk
from ui.streams import reading

Piece = LogChunk | LogGap


def end_of(piece: Piece) -> int:
    return piece.cursor.offset if isinstance(piece, LogChunk) else piece.offset + piece.size


class LogReader:
    """Everything of one attempt and rank behind a cursor, to its end."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def read(self, record: Record, after: Cursor, wait: bool = True) -> AsyncIterator[Piece]:
        """With ``wait`` to the end of the attempt, without to the end of what is stored.

        Where a slow reader finds a gap it looks a second time before it says so: the archive may
        have sealed the bytes and trimmed the stream under its feet.
        """
        believed = -1
        while True:
            again = False
            async with reading(read_attempt(self._bus, record, after, wait=wait)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, LogGap) and piece.offset != believed:
                        believed = piece.offset
                        again = True
                        break
                    after = after._replace(offset=end_of(piece))
                    yield piece
            if not again:
                return
