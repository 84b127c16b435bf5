"""How are a log's rows sealed beside its blocks?

The screen of the last sealed byte lies in the index; each block is painted on it, and what settles
is sealed with the block. A short log has none: its rows are made anew from its bytes.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from bus.errors import BusError, Corrupt, NotFound
from bus.screen import Screen, Settled
from bus.sealed import LogArchive
from schemas.log import LogChunk, LogIndex, SealedRows, SealedScreen

log = logging.getLogger(__name__)

CATCH_UP = 4 << 20
"""Bytes that are painted at one time of a log whose rows were not sealed with its blocks."""
SHORT = 256 * 1024
"""Bytes of a log that is painted sooner than the screen of its end is read."""


@dataclass
class RowRound:
    """What one round adds to the index."""

    rows: list[SealedRows] = field(default_factory=list)
    screen: SealedScreen | None = None
    """None where the index keeps the one that it has."""
    anew: bool = False
    """Whether the rows stand in place of all that the index has."""

    def behind(self, rows: tuple[SealedRows, ...]) -> tuple[SealedRows, ...]:
        """All rows that the next index has, of one that had those."""
        return tuple(self.rows) if self.anew else (*rows, *self.rows)

    @property
    def objects(self) -> tuple[str, ...]:
        named = (*self.rows, *((self.screen,) if self.screen else ()))
        return tuple(one.object for one in named if one.object)


class RowSealer:
    """The rows of one log, in one run of a sealer.

    Its blocks are sealed whatever a program paints: where painting fails, rows stay where they are.
    """

    def __init__(self, archive: LogArchive, name: tuple[str, int, int]) -> None:
        self._archive = archive
        self._name = name
        self._screen: Screen | None = None
        self._short: list[LogChunk] = []
        """Of a log that is short yet."""
        self._broken = False
        self._round = RowRound()
        self._written = 0
        """Offset of the last screen that was."""

    async def add(self, index: LogIndex, chunks: list[LogChunk]) -> None:
        """The next block. Raises ``BusError`` where the store does not answer."""
        if self._broken:
            return
        if index.screen is None and self._screen is None and chunks[-1].end < SHORT:
            self._short += chunks
            return
        try:
            if self._screen is None:
                await self._open(index)
            await self._paint(chunks)
        except BusError:
            raise
        except Exception:
            self._give_up()

    def _give_up(self) -> None:
        """What this round has stored of rows, nothing will name: ``sweep`` frees it."""
        log.exception("%s.%d.%d: rows cannot be sealed", *self._name)
        self._broken, self._round = True, RowRound()

    async def _open(self, index: LogIndex) -> None:
        """The screen behind all blocks that were sealed before."""
        self._screen = await self._sealed(index)
        _, attempt, rank = self._name
        held: list[LogChunk] = []
        async for chunk in self._archive.read(attempt, rank, index, self._screen.end):
            held.append(chunk)
            if held[-1].end - held[0].offset >= CATCH_UP:
                await self._paint(held)
                held = []
        held += [chunk for chunk in self._short if chunk.offset >= index.end]
        self._short = []
        await self._paint(held)

    async def _sealed(self, index: LogIndex) -> Screen:
        """A blank one where it is lost, or was kept by another version: all is painted anew."""
        try:
            return await self._archive.screen(index.screen) if index.screen else Screen()
        except (NotFound, Corrupt) as error:
            log.warning("%s.%d.%d: its rows are sealed anew: %s", *self._name, error)
            self._round.anew = True
            return Screen()

    async def _paint(self, chunks: list[LogChunk]) -> None:
        assert self._screen is not None
        runs = await asyncio.to_thread(paint, self._screen, chunks)
        if runs:
            self._round.rows.append(await self._archive.write_rows(*self._name, runs))

    async def finish(self) -> RowRound:
        """What came of the blocks since the last call."""
        done, self._round = self._round, RowRound()
        screen = self._screen
        if screen is not None and screen.end > self._written and not self._broken:
            done.screen = await self._archive.write_screen(*self._name, screen)
            self._written = screen.end
        return done


def paint(screen: Screen, chunks: list[LogChunk]) -> list[Settled]:
    for chunk in chunks:
        if chunk.offset > screen.end:
            screen.gap(screen.end, chunk.offset - screen.end, "")
        screen.feed(chunk.after(screen.end))
    return screen.take_settled()
