"""Who closes a file does so after the thread that writes to it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agent.to_the_end import to_the_end


def test_a_cancelled_thread_is_waited_for_before_its_files_are_closed() -> None:
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def write(what: str) -> str:
        begun.set()
        assert go_on.wait(20)
        order.append(what)
        return what

    async def writes() -> None:
        try:
            await to_the_end(write, "written")
        finally:
            order.append("closed")

    async def play() -> None:
        task = asyncio.create_task(writes())
        assert await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == []
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await to_the_end(write, "again") == "again"

    asyncio.run(play())
    assert order == ["written", "closed", "again"]
