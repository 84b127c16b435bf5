"""How do many parts run in one process without one taking down the rest?"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds before a part is started again; doubled with each failure in a row."""
HEALTHY = 60.0
"""A part that ran this many seconds starts again with the first pause."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that should run for ever."""

    name: str
    run: Callable[[], Awaitable[None]]
    """Runs until it is cancelled; may be called again after it ended or raised."""


async def supervise(parts: Iterable[Part]) -> None:
    """Runs all parts until cancelled, each started again by itself when it fails."""
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(keep_running(part), name=part.name)


async def keep_running(part: Part, clock: Callable[[], float] = time.monotonic) -> None:
    pause = FIRST_PAUSE
    while True:
        begun = clock()
        try:
            await part.run()
            log.error("%s ended by itself", part.name)
        except Exception:
            log.exception("%s failed", part.name)
        if clock() - begun >= HEALTHY:
            pause = FIRST_PAUSE
        log.warning("%s starts again in %.1f s", part.name, pause)
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 2)
