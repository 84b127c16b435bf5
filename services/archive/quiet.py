"""For how long has nothing come to a log that lacks its end?"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from services.archive.sealing import Rank

MOST = 10_000
"""Logs that are remembered; of the longest unasked one it is forgotten since when it lacks its end,
and somebody waits longer for it."""


class Quiet:
    """Counted here, from the first look on, and not by comparing clocks: a gap is for good."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[Rank, tuple[int, float]] = OrderedDict()

    def seconds(self, rank: Rank, last: int) -> float:
        """Since the log was first seen with ``last``, the sequence of its last message."""
        now = self._clock()
        sequence, since = self._seen.pop(rank, (last, now))
        if sequence != last:
            since = now
        self._seen[rank] = (last, since)
        if len(self._seen) > MOST:
            self._seen.popitem(last=False)
        return now - since
