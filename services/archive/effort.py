"""How hard is a block compressed?

Where a log comes slowly there is time for it: a training log gets half the size that way. A flood
is sealed as it comes, and so is everything while the archive has much to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable

HARD, USUAL = 17, 3
"""Levels of zstandard: about 2 and 300 MB/s."""
SHARE = 0.2
"""Part of the time that hard work may take."""
SAVED = 3.0
"""Most seconds of it that are saved up."""


class Effort:
    """The budget of one archive."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._left = SAVED

    def level(self, whole: bool) -> int:
        """``whole``: the block is full, so that much more may wait."""
        now = self._clock()
        self._left = min(SAVED, self._left + (now - self._since) * SHARE)
        self._since = now
        return USUAL if whole or self._left <= 0 else HARD

    def took(self, level: int, seconds: float) -> None:
        if level == HARD:
            self._left -= seconds
