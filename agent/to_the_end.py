"""How is work in a thread cancelled that has files open? Not before it is done.

A thread goes on when the task that waits for it is cancelled. What that task closes next may be
another file by the time the thread writes to its number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def to_the_end(do: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """In a thread. Cancelled, it is waited for; keep it short."""
    work = asyncio.ensure_future(asyncio.to_thread(do, *given, **named))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
