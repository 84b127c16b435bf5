"""Whoever follows a log while a page dies sees each line once, at its successor or its replica."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bus.logs import LogWriter
from schemas.job import Fact, State
from stoker.answers import Gap, LogPiece
from stoker.following import follow
from tests.crash.child import Program
from tests.crash.front import front, pages
from tests.crash.harness import EVERYTHING, Scenario, crash_everywhere
from tests.crash.worlds import Server, World
from tests.integration.log_tools import JOB, attempt, chunk, record, write

VIEWERS = 2
"""One at each page, where there are two."""
BEFORE, LIVE = 4, 6
"""Messages that lie there before anybody looks, and that come one by one while all look."""


class Viewer:
    """One who follows by the client of ``stoker logs -f``, and what he has seen of each attempt."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.seen: dict[int, bytes] = {}
        self._news = asyncio.Event()

    async def look(self) -> None:
        async for event in follow(self._url, JOB):
            assert not isinstance(event, Gap), event
            if isinstance(event, LogPiece):
                seen = self.seen.setdefault(event.attempt, b"")
                assert event.offset == len(seen), (event, len(seen))
                self.seen[event.attempt] = seen + event.data
                self._news.set()

    async def until(self, number: int, size: int) -> None:
        while len(self.seen.get(number, b"")) < size:
            self._news.clear()
            await self._news.wait()


class Printer:
    """One attempt's program."""

    def __init__(self, world: World, number: int) -> None:
        self._writer = LogWriter(world.bus, JOB, number, 0, "w1")
        self._number = number
        self.text = b""

    async def print(self, viewers: list[Viewer]) -> None:
        """One line, and not before all have seen it the next."""
        data = b"byte %d of attempt %d\n" % (len(self.text), self._number)
        await self._writer.publish(chunk(len(self.text), data, self._number))
        self.text += data
        await asyncio.gather(*(one.until(self._number, len(self.text)) for one in viewers))


async def two_attempts_are_followed(world: World) -> None:
    async with front(world.folder / "pages") as url:
        viewers = [Viewer(url) for _ in range(VIEWERS)]
        first, second = Printer(world, 1), Printer(world, 2)
        await write(world.bus, record(attempt(1)), Fact.RUNNING)
        for _ in range(BEFORE):
            await first.print([])
        async with asyncio.TaskGroup() as looking:
            for viewer in viewers:
                looking.create_task(viewer.look())
            for _ in range(LIVE):
                await first.print(viewers)
            over = attempt(1, end=len(first.text))
            await write(world.bus, record(over, attempt(2)), Fact.RUNNING)
            for _ in range(LIVE):
                await second.print(viewers)
            both = record(over, attempt(2, end=len(second.text)), state=State.SUCCEEDED)
            await write(world.bus, both, Fact.SUCCEEDED)
        for viewer in viewers:
            assert viewer.seen == {1: first.text, 2: second.text}


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_follower_sees_each_line_once_wherever_its_page_dies(
    worlds: Server, tmp_path: Path, replicas: int
) -> None:
    scenario = Scenario(
        Program("ui"),
        two_attempts_are_followed,
        replicas,
        prepare=pages,
        most=2 * LIVE if EVERYTHING else 3,
    )
    outcome = await crash_everywhere(worlds, scenario, tmp_path)
    outcome.check(at_least=5)
