"""Do the rights of the service and of workers let environments be shared, and no more?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.image_blobs import subject
from bus.connection import Bus
from bus.errors import BusError
from schemas.environments import Ask, Asked, Turn
from schemas.stream import Stream
from services.environments.config import EnvironmentsConfig
from services.environments.service import run
from tests.integration.environment_tools import KEY, Worker, grant_of
from tests.integration.identified import Identified, identified


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Identified]:
    async with identified(tmp_path) as made, Bus.connect(made.config("environments")) as bus:
        serving = asyncio.ensure_future(run(bus, EnvironmentsConfig()))
        await bus.flush()
        yield made
        serving.cancel()
        await asyncio.wait([serving])


async def test_workers_hand_an_image_on_with_the_rights_that_they_have(
    fleet: Identified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.environments.ASK_EVERY", 0.05)
    async with (
        Bus.connect(fleet.config("scheduler")) as scheduler,
        Bus.connect(fleet.worker("w1")) as first,
        Bus.connect(fleet.worker("w2")) as second,
    ):
        one, two = Worker(first, "w1", tmp_path / "w1"), Worker(second, "w2", tmp_path / "w2")
        for each in (one, two):
            each.folder.mkdir()
        running = asyncio.ensure_future(one.shares.run())
        grant = await grant_of(scheduler, "j1", "w1")
        lease = await one.lease(grant)
        async with one.fleet.building(lease, grant, (), one.hear) as output:
            output(Stream.BUILD, b"Collecting six\n")
        other = await grant_of(scheduler, "j2", "w2")
        asked = await two.turn(other)
        assert asked is not None
        assert asked.turn is Turn.FETCH
        assert (await two.fetched(other, asked, tmp_path / "got"))[-1] == one.content
        running.cancel()
        ask = Ask(job="j1", attempt=1, nonce=grant.nonce, key=KEY)
        with pytest.raises(BusError):
            await second.request(subject("ask", "w1"), ask, Asked, timeout=0.5, attempts=1)
    violations = fleet.violations()
    assert [line for line in violations if "environments.ask.w1" not in line] == []
