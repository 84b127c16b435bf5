"""What do SIGINT and SIGTERM mean to a part that runs by itself?"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from stoker import exits

log = logging.getLogger(__name__)


async def until_signal(part: Coroutine[Any, Any, None]) -> None:
    """Runs it; the first signal cancels it, the second ends the process at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(part)
    stopped = False

    def on_signal() -> None:
        nonlocal stopped
        if stopped:
            os._exit(exits.DETACHED)
        stopped = True
        log.info("stopping")
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    with suppress(asyncio.CancelledError):
        await task
