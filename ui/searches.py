"""Which rows of a log match, and what is known of it since somebody asked the last time?

What a search found is kept; of a log that grows only what is new is searched.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from bus.row_search import Hits, Query, find
from bus.rows import RowLog
from ui.gate import Gate
from ui.row_logs import Key

MOST_BYTES = 32 << 20
MOST_SEARCHES = 200
"""What is kept: numbers of rows, and searches."""
AT_ONCE, WAITING = 2, 32
"""Searches of this process; they use threads."""


@dataclass
class Search:
    """What one search has found so far; who asks the same meanwhile waits for it."""

    hits: Hits | None = None
    complete: bool = False
    going: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def size(self) -> int:
        return len(self.hits.numbers) * self.hits.numbers.itemsize if self.hits else 0


class Searches:
    """The searches of this process, least lately asked for first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[tuple[Key, Query], Search] = OrderedDict()
        self._gate = Gate(AT_ONCE, WAITING, "searches")

    @property
    def size(self) -> int:
        """Bytes of all numbers that are kept."""
        return sum(search.size for search in self._kept.values())

    async def hits(self, key: Key, log: RowLog, query: Query) -> Hits:
        """All rows that match, as the log is now. Raises ``HttpProblem`` 503."""
        search = self._kept.setdefault((key, query), Search())
        self._kept.move_to_end((key, query))
        async with search.going:
            if search.hits is None or not search.complete:
                async with self._gate.passed():
                    complete = log.complete
                    search.hits = await find(log, query, search.hits)
                    search.complete = complete
            found = search.hits
        self._evict()
        return found

    def _evict(self) -> None:
        """The newest stays, whatever its size: it is bounded by itself."""
        size = self.size
        while len(self._kept) > 1 and (size > self._most or len(self._kept) > MOST_SEARCHES):
            _, oldest = self._kept.popitem(last=False)
            size -= oldest.size
