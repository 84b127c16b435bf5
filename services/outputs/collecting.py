"""How does what nobody names go, so that nothing does which was named a moment ago?"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from bus.outputs import OutputStore

BURST = 16
"""Removed between two looks at the heads."""


async def collect(
    store: OutputStore, job: str, surplus: Iterable[bytes], seen: int, until: float = math.inf
) -> bool:
    """Whether all of it is gone. Stops when a head was written since the one of sequence ``seen``.

    Another writer of the job may name a piece in it that it found here.
    """
    left = list(surplus)
    while left and time.monotonic() < until and await last_written(store, job) == seen:
        await store.remove(job, left[:BURST])
        del left[:BURST]
    return not left


async def last_written(store: OutputStore, job: str) -> int:
    """The sequence of the head of the job that was written last; 0 for none."""
    head = await store.head(job, "*")
    return head.sequence if head else 0
