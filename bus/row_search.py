"""Which rows of a log hold a text?"""

from __future__ import annotations

import asyncio
import re
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, compress, count
from typing import TYPE_CHECKING

from bus.errors import BusError
from bus.row_blocks import as_rows, between, spans_of
from bus.screen import RowSpan, Settled
from schemas.log import LogChunk, SealedRows

if TYPE_CHECKING:
    from bus.rows import RowLog

COLOUR = re.compile(rb"\x1b\[[0-9;:]*m")
AHEAD = 3
"""Parts of a log, of a few MiB each, that are looked through at one time."""
MOST_HITS = 2_000_000
"""Numbers that are kept; further hits are counted."""
DENSE = 8
"""With more than one hit in so many rows, all rows are looked at and not hit after hit."""
MARK = b"\xff"
"""In place of a hit: no needle has such a byte, for UTF-8 has none."""
LEFT_OUT = bytes(set(range(256)) - set(b"\n" + MARK))


@dataclass(frozen=True)
class Query:
    """Rows that hold a text, or of one stream, or both.

    Without ``case`` the letters A to Z match in either case, and so do the other letters of the
    query that have one (Ä, Ж, Σ), but not what changes its length or its kind by folding (ß and SS,
    the Kelvin sign and k). Colours are not looked at.
    """

    text: str
    case: bool = False
    stream: str = ""
    """Its letter; empty for any."""


@dataclass
class Hits:
    """The rows that match."""

    numbers: array[int] = field(default_factory=lambda: ascending(()))
    """Ascending, at most ``MOST_HITS`` of them."""
    count: int = 0
    settled: int = 0
    """Up to this row they stay as they are; a later search goes on behind it."""
    total: int = 0
    """Rows that were looked at."""

    def upto_settled(self) -> Hits:
        """Without the rows that could still change."""
        kept = bisect_right(self.numbers, self.settled)
        gone = len(self.numbers) - kept
        return Hits(self.numbers[:kept], self.count - gone, self.settled, self.settled)

    def add(self, numbers: array[int]) -> None:
        self.count += len(numbers)
        self.numbers.extend(numbers[: max(0, MOST_HITS - len(self.numbers))])


class Matcher:
    """A query, ready to look through many rows at once."""

    def __init__(self, query: Query) -> None:
        self._fold = not query.case and query.text.lower() != query.text.upper()
        text = query.text if query.case else query.text.lower()
        self._needle = text.encode("utf-8", "replace")
        self._others = other_cases(query.text) if self._fold else {}
        self.stream = query.stream
        self.never = "\n" in query.text or "\r" in query.text

    def numbers(self, data: bytes, first: int, spans: Iterable[RowSpan]) -> array[int]:
        """Of the rows that match; ``first`` is the number of the first row of ``data``."""
        found = self._hits(data, first) if self._needle else None
        if not self.stream:
            return found if found is not None else ascending(range(first, first + count_of(data)))
        ranges = self._ranges(first, spans)
        if found is None:
            return ascending(chain.from_iterable(ranges))
        return ascending(chain.from_iterable(part_of(found, numbers) for numbers in ranges))

    def _hits(self, data: bytes, first: int) -> array[int]:
        if b"\x1b" in data:
            data = COLOUR.sub(b"", data)
        if self._fold:
            data = data.lower()
            for other, folded in self._others.items():
                data = data.replace(other, folded)
        hits = data.count(self._needle)
        if hits * DENSE > count_of(data):
            return ascending(dense(data, self._needle, first))
        return ascending(sparse(data, self._needle, first) if hits else ())

    def _ranges(self, first: int, spans: Iterable[RowSpan]) -> list[range]:
        """Numbers of the rows of the stream."""
        ranges = []
        for span in spans:
            if span.stream.value == self.stream:
                ranges.append(range(first, first + span.count))
            first += span.count
        return ranges


def ascending(numbers: Iterable[int]) -> array[int]:
    return array("Q", numbers)


def count_of(data: bytes) -> int:
    return data.count(b"\n") + 1


def part_of(found: array[int], numbers: range) -> array[int]:
    """Of ascending numbers those in the range."""
    return found[bisect_left(found, numbers.start) : bisect_left(found, numbers.stop)]


def dense(data: bytes, needle: bytes, first: int) -> Iterator[int]:
    """What is left of a row is its marks, which cost far less to take apart than rows do."""
    marked = data.replace(MARK, b"\xfe").replace(needle, MARK)
    return compress(count(first), marked.translate(None, LEFT_OUT).split(b"\n"))


def sparse(data: bytes, needle: bytes, row: int) -> Iterator[int]:
    at = 0
    hit = data.find(needle)
    while hit >= 0:
        row += data.count(b"\n", at, hit)
        yield row
        at = data.find(b"\n", hit)
        hit = data.find(needle, at) if at >= 0 else -1


def other_cases(text: str) -> dict[bytes, bytes]:
    """The other forms of the text's letters beyond A to Z, each with the one that is searched."""
    forms: dict[bytes, bytes] = {}
    for letter in text:
        lower = letter.lower()
        for other in (letter, letter.upper(), letter.title()):
            if not letter.isascii() and len(other) == len(lower) == 1 and other != lower:
                forms[other.encode()] = lower.encode()
    return forms


async def find(log: RowLog, query: Query, known: Hits | None = None) -> Hits:
    """Every row that matches; with ``known``, an earlier answer, only what came since is read.

    Raises ``BusError``.
    """
    hits = known.upto_settled() if known else Hits()
    matcher = Matcher(query)
    parts, live, behind = log.parts(), log.screen.live(), hits.settled
    hits.settled, hits.total = log.settled, log.total
    if matcher.never or log.deleted:
        return hits
    looking: deque[asyncio.Task[array[int]]] = deque()
    try:
        async with asyncio.TaskGroup() as tasks:
            for part in parts:
                if last_row(part) > behind:
                    looking.append(tasks.create_task(look(log, part, matcher)))
                if len(looking) > AHEAD:
                    behind = add(hits, await looking.popleft(), behind)
            while looking:
                behind = add(hits, await looking.popleft(), behind)
    except* BusError as group:
        raise group.exceptions[0] from None
    for rows in live:
        behind = add(hits, matcher.numbers(rows.data, rows.first, rows.spans), behind)
    return hits


def last_row(part: SealedRows | list[Settled]) -> int:
    run = part[-1] if isinstance(part, list) else part
    return run.first + run.count - 1


def add(hits: Hits, numbers: array[int], behind: int) -> int:
    """Those behind that row; the last row that is done. An entry may begin before one's end."""
    if numbers and numbers[0] <= behind:
        numbers = numbers[bisect_right(numbers, behind) :]
    hits.add(numbers)
    return max(behind, numbers[-1]) if numbers else behind


async def look(log: RowLog, part: SealedRows | list[Settled], matcher: Matcher) -> array[int]:
    runs = part if isinstance(part, list) else await log.runs_of(part)
    plain = [run for run in runs if run.rows is None]
    chunks = await log.raw.between(plain[0].start, plain[-1].stop) if plain else []
    return await asyncio.to_thread(numbers_of, runs, chunks, matcher)


def numbers_of(runs: list[Settled], chunks: list[LogChunk], matcher: Matcher) -> array[int]:
    found = ascending(())
    for run in runs:
        if run.rows is not None:
            found += matcher.numbers(run.rows.data, run.first, run.rows.spans)
        elif (raw := between(chunks, run.start, run.stop)) is not None:
            spans = spans_of(chunks, run.start, raw) if matcher.stream else ()
            found += matcher.numbers(as_rows(raw), run.first, spans)
    return found
