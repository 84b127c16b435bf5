"""What do signals mean to a part that runs by itself?"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stoker import exits

if TYPE_CHECKING:
    from agent.leaving import Leaving

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


def leaving_by_signals() -> Leaving:
    """Of an agent: SIGINT and SIGTERM let it finish what runs, once more leave it to a successor.

    SIGHUP leaves it at once: for a restart or an upgrade. One signal more ends the process.
    """
    from agent.leaving import Leaving

    leaving = Leaving()
    loop = asyncio.get_running_loop()

    def on_stop() -> None:
        if leaving.drain.is_set():
            on_leave()
        else:
            log.info("finishing what runs; once more leaves it to the next agent on this machine")
            leaving.drain.set()

    def on_leave() -> None:
        if leaving.leave.is_set():
            os._exit(exits.DETACHED)
        log.info("leaving what runs to the next agent on this machine")
        leaving.leave.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        loop.add_signal_handler(signal.SIGHUP, on_leave)
    return leaving
