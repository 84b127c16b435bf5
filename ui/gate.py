"""How many may do something costly at one time, and how many may wait for it?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ui.problems import refuse


class Gate:
    """Lets some in; those who would wait behind too many others are told to come back."""

    def __init__(self, at_once: int, waiting: int, what: str) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._most = waiting
        self._waiting = 0
        self._what = what

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Raises ``HttpProblem`` 503."""
        if self._slots.locked() and self._waiting >= self._most:
            raise refuse(
                503, "too_many_readers", f"Too many {self._what} at one time", "Try again shortly."
            )
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()
