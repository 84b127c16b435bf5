"""How does the agent wait for the engine without blocking its loop?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")

THREADS = 8
ABORT_SECONDS = 5.0
"""How long a cancelled call may take to notice that its connection was cut."""


class Threads:
    """A few threads for blocking calls. What does not get one waits."""

    def __init__(self, count: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="docker")

    async def run(
        self,
        function: Callable[..., Result],
        *arguments: Any,
        abort: Callable[[], None] | None = None,
    ) -> Result:
        """Cancelled, it calls ``abort`` and gives the thread a moment to come back."""
        call = partial(function, *arguments)
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if abort is not None:
                abort()
            done, _ = await asyncio.wait([future], timeout=ABORT_SECONDS if abort else 0)
            for ended in done:
                ended.exception()
            raise

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
