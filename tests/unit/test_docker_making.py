"""What do those hear on one machine who wait for an image that another job makes?"""

from __future__ import annotations

import asyncio

import pytest

from agent.runtimes.docker_making import Makings
from agent.runtimes.protocol import CannotPrepare
from schemas.reason import Reason
from schemas.stream import Stream


class Log:
    """What one job was told."""

    def __init__(self) -> None:
        self.said: list[tuple[Stream, bytes]] = []

    def __call__(self, stream: Stream, data: bytes) -> None:
        self.said.append((stream, data))

    def text(self, stream: Stream) -> str:
        return b"".join(data for of, data in self.said if of is stream).decode()


class Maker:
    """One job that makes the image ``x`` as soon as it may."""

    def __init__(self, makings: Makings, error: CannotPrepare | None = None) -> None:
        self.log = Log()
        self.made = False
        self.go_on = asyncio.Event()
        self._makings = makings
        self._error = error

    async def run(self) -> None:
        async with self._makings.alone("x", self.log) as heard:
            self.made = True
            heard(Stream.BUILD, b"step\n")
            heard(Stream.STOKER, b"[stoker] mine\n")
            await self.go_on.wait()
            if self._error:
                raise self._error


async def begun(maker: Maker) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(maker.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_who_waits_sees_the_build_and_not_the_other_jobs_own_words() -> None:
    makings = Makings()
    one, two = Maker(makings), Maker(makings)
    first, second = await begun(two), await begun(one)
    assert two.made
    assert not one.made
    assert "another job makes x already" in one.log.text(Stream.STOKER)
    third = Maker(makings)
    third_task = await begun(third)
    two.go_on.set()
    await first
    await asyncio.sleep(0)
    assert one.made
    assert third.log.text(Stream.BUILD) == "step\n"
    assert "mine" not in third.log.text(Stream.STOKER)
    for maker in (one, third):
        maker.go_on.set()
    await asyncio.gather(second, third_task)


async def test_a_failure_of_the_bundle_is_that_of_all_who_waited() -> None:
    makings = Makings()
    one, two, later = Maker(makings, CannotPrepare("no six")), Maker(makings), Maker(makings)
    first, second = await begun(one), await begun(two)
    one.go_on.set()
    with pytest.raises(CannotPrepare, match="no six"):
        await first
    with pytest.raises(CannotPrepare, match="no six"):
        await second
    assert not two.made
    third = await begun(later)
    assert later.made
    later.go_on.set()
    await third


async def test_after_any_other_failure_the_next_one_tries() -> None:
    makings = Makings()
    one, two = Maker(makings, CannotPrepare("full", Reason.DISK_FULL)), Maker(makings)
    first, second = await begun(one), await begun(two)
    one.go_on.set()
    with pytest.raises(CannotPrepare, match="full"):
        await first
    two.go_on.set()
    await second
    assert two.made


async def test_who_is_cancelled_hears_nothing_more_and_the_next_one_gets_its_turn() -> None:
    makings = Makings()
    one, two, three = Maker(makings), Maker(makings), Maker(makings)
    first, second, third = await begun(one), await begun(two), await begun(three)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    three.go_on.set()
    await third
    assert three.made
    assert two.log.text(Stream.BUILD) == ""
