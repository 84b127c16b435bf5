"""The log of an attempt that was lost and came back: live, by a late reader, sealed meanwhile."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from bus.connection import Bus
from bus.logs import LogWriter, read_job
from bus.sealed import LogArchive
from schemas.job import Fact, Reason, State
from schemas.worker import AttemptKey, Claim, Report
from services.scheduler import transitions
from services.scheduler.transitions import Step
from tests.integration.log_tools import JOB, chunk, record, text, write
from tests.integration.test_archive import archive
from tests.integration.test_ui_log import Seen, http, watch

__all__ = ("http",)
SOCKET = f"/api/v1/jobs/{JOB}/log/ws"


class Story:
    """A job's way, step by step, as the scheduler would write it."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.record = record(state=State.WAITING)
        self.writers: dict[int, tuple[LogWriter, int]] = {}

    async def begin(self) -> None:
        await write(self.bus, self.record, Fact.SUBMITTED)

    async def take(self, decision: object) -> None:
        assert isinstance(decision, Step), decision
        self.record = decision.record
        await write(self.bus, self.record, decision.fact)

    async def start(self, worker: str) -> None:
        await self.take(transitions.queue(self.record, "c", 1.0))
        claim = Claim(id=worker, worker=worker, job=JOB)
        await self.take(transitions.claim(self.record, claim, "secret", 2.0))

    async def lose(self) -> None:
        await self.take(transitions.lost(self.record, "silent", 3.0))

    async def come_back(self, worker: str) -> None:
        key = AttemptKey(job=JOB, attempt=1)
        await self.take(transitions.reinstated(self.record, key, worker, 4.0))

    async def say(self, number: int, line: bytes) -> None:
        found = self.record.find(number)
        assert found is not None
        fresh = LogWriter(self.bus, JOB, number, 0, found.worker), 0
        writer, offset = self.writers.get(number, fresh)
        await writer.publish(chunk(offset, line, number))
        self.writers[number] = writer, offset + len(line)

    async def end(self) -> None:
        current = self.record.current
        assert current is not None
        end = {"reason": Reason.EXIT, "exit_code": 0, "log_ends": {0: self.writers[1][1]}}
        told = Report.model_validate(
            {
                "worker": current.worker, "job": JOB, "attempt": current.number,
                "nonce": "secret", "fact": Fact.SUCCEEDED, "at": 5.0, "end": end,
            }
        )  # fmt: skip
        await self.take(transitions.report(self.record, told, 5.0))


@pytest.fixture
async def story(bus: Bus) -> Story:
    story = Story(bus)
    await story.begin()
    return story


async def test_a_viewer_sees_what_it_prints_after_it_came_back(
    http: aiohttp.ClientSession, story: Story
) -> None:
    await story.start("w1")
    await story.say(1, b"before\n")
    async with http.ws_connect(SOCKET) as ws:
        seen = await watch(ws, Seen(), b"before\n")
        await story.lose()
        while (await ws.receive_json())["job"]["state"] != "waiting":
            pass
        await story.come_back("w1")
        await story.say(1, b"after\n")
        await watch(ws, seen, b"after\n")
        await story.say(1, b"live\n")
        await watch(ws, seen, b"live\n")
        await story.end()
        await watch(ws, seen)
    assert seen.text == b"before\nafter\nlive\n"


async def test_a_viewer_goes_back_to_it_from_a_successor_that_made_room(
    http: aiohttp.ClientSession, story: Story
) -> None:
    await story.start("w1")
    await story.say(1, b"first\n")
    await story.lose()
    await story.start("w2")
    await story.say(2, b"building\n")
    async with http.ws_connect(SOCKET, params={"after": "1.0.0"}) as ws:
        seen = await watch(ws, Seen(), b"building\n")
        await story.come_back("w1")
        await story.say(1, b"goes on\n")
        await watch(ws, seen, b"goes on\n")
        assert seen.place == f"1.0.{len(b'firstxgoes onx')}"
    async with http.ws_connect(SOCKET, params=[("after", "1.0.6"), ("after", "2.0.9")]) as ws:
        again = await watch(ws, Seen(), b"goes on\n")
        await story.end()
        await watch(ws, again)
    assert seen.text == b"first\nbuilding\ngoes on\n"
    assert again.text == b"goes on\n"


async def test_what_was_sealed_while_it_was_lost_is_no_end(bus: Bus, story: Story) -> None:
    await story.start("w1")
    await story.say(1, b"sealed\n")
    await story.lose()
    reader = asyncio.create_task(text(read_job(bus, JOB, wait=True)))
    async with archive(bus):
        async with asyncio.timeout(20):
            while (stored := await LogArchive(bus).index(JOB, 1, 0)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert not stored.index.complete
        await story.come_back("w1")
        await story.say(1, b"later\n")
        await story.end()
        async with asyncio.timeout(20):
            while not (stored and stored.index.complete):
                stored = await LogArchive(bus).index(JOB, 1, 0)
                await asyncio.sleep(0.05)
        assert await text(read_job(bus, JOB, wait=True)) == b"sealed\nlater\n"
    async with asyncio.timeout(20):
        assert await reader == b"sealed\nlater\n"
