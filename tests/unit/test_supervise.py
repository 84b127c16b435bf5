"""Does one part's failure leave the others alone?"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from stoker.supervise import Part, supervise


async def test_a_part_that_fails_starts_again_and_the_others_go_on() -> None:
    starts: list[str] = []
    twice = asyncio.Event()

    async def fails() -> None:
        starts.append("fails")
        if len(starts) > 2:
            twice.set()
        raise RuntimeError("broken")

    async def lasts() -> None:
        starts.append("lasts")
        await asyncio.Event().wait()

    task = asyncio.create_task(supervise([Part("fails", fails), Part("lasts", lasts)]))
    await asyncio.wait_for(twice.wait(), 10)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert starts.count("lasts") == 1
    assert starts.count("fails") >= 2
    assert task.cancelled()
