"""Do workers build each environment once, whoever dies, and get the image whole?"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from agent.environments import Fleet
from agent.image_blobs import subject
from agent.runtimes.protocol import CannotPrepare
from bus.connection import Bus
from bus.errors import Refused
from bus.images import ImageStore
from bus.server import EmbeddedServer
from schemas.environments import (
    Ask,
    Asked,
    LeaseAnswer,
    LeaseBeat,
    Phase,
    PutChunk,
    Turn,
)
from schemas.reason import Reason
from schemas.stream import Stream
from schemas.worker import Grant
from services.environments.service import Environments
from services.environments.shelf import Shelf
from tests.integration.environment_tools import (
    BASE,
    KEY,
    Make,
    Worker,
    build,
    building_elsewhere,
    grant_of,
    replicas,
    until_phase,
    worker,
)

__all__ = ("replicas", "worker")


async def test_of_ten_that_need_it_one_builds_and_the_others_fetch(
    bus: Bus, worker: Make, tmp_path: Path
) -> None:
    workers = [worker(f"w{n}") for n in range(10)]
    grants = [await grant_of(bus, f"j{n}", one.name) for n, one in enumerate(workers)]
    builds = []

    async def need(one: Worker, grant: Grant) -> list[bytes]:
        asked = await one.turn(grant)
        assert asked is not None
        if asked.turn is Turn.BUILD:
            assert asked.lease is not None
            builds.append(one)
            async with one.fleet.building(asked.lease, grant, (BASE,), one.hear) as output:
                output(Stream.BUILD, b"Collecting six\n")
                await until_phase(bus, Phase.BUILDING, wanted=True)
            return [b"", one.content]
        assert asked.turn is Turn.FETCH
        return await one.fetched(grant, asked, tmp_path / f"of-{one.name}")

    found = await asyncio.gather(*map(need, workers, grants))
    assert len(builds) == 1
    assert {one[-1] for one in found} == {workers[0].content}
    assert builds[0].exported == [(BASE,)]


async def test_one_who_waits_sees_what_the_builder_prints(bus: Bus, worker: Make) -> None:
    one, two = worker("w1"), worker("w2")
    go_on = asyncio.Event()
    building = asyncio.ensure_future(build(one, await grant_of(bus, "j1", "w1"), go_on))
    await until_phase(bus, Phase.BUILDING)
    waiting = asyncio.ensure_future(two.turn(await grant_of(bus, "j2", "w2")))
    await two.until_said("Collecting six", Stream.BUILD)
    assert "w1 is building it: waiting for it" in two.text()
    go_on.set()
    await building
    asked = await waiting
    assert asked is not None
    assert asked.turn is Turn.FETCH


async def test_nothing_is_stored_as_long_as_nobody_wants_it(bus: Bus, worker: Make) -> None:
    one, two = worker("w1"), worker("w2")
    await build(one, await grant_of(bus, "j1", "w1"))
    await until_phase(bus, Phase.BUILT)
    assert await ImageStore(bus).stored() == set()
    asked = await two.turn(await grant_of(bus, "j2", "w2"))
    assert asked is not None
    assert asked.turn is Turn.FETCH
    assert len(await ImageStore(bus).stored()) == 2


async def test_an_image_is_shared_although_its_agent_was_started_anew(
    bus: Bus, worker: Make, replicas: list[Environments], tmp_path: Path
) -> None:
    await build(worker("w1"), await grant_of(bus, "j1", "w1"))
    again = Worker(bus, "w1", tmp_path / "w1")
    running = asyncio.ensure_future(again.shares.run())
    asked = await worker("w2").turn(await grant_of(bus, "j2", "w2"))
    assert asked is not None
    assert asked.turn is Turn.FETCH
    running.cancel()


async def test_a_secret_of_the_builders_job_is_not_shown_to_those_who_wait(
    bus: Bus, worker: Make
) -> None:
    one, two = worker("w1"), worker("w2")
    grant = await grant_of(bus, "j1", "w1")
    spec = grant.spec.model_copy(update={"environment": {"API_TOKEN": "s3cr3t-value"}})
    lease = await one.lease(grant)
    grant = grant.model_copy(update={"spec": spec})
    async with one.fleet.building(lease, grant, (), one.hear) as output:
        for piece in (b"with s3cr", b"3t-value here\n", b"x" * 5000, b" s3cr3t-value\n"):
            output(Stream.BUILD, piece)
        waiting = asyncio.ensure_future(two.turn(await grant_of(bus, "j2", "w2")))
        await two.until_said("[redacted API_TOKEN]\n", Stream.BUILD)
        assert "s3cr" not in two.text(Stream.BUILD)
        waiting.cancel()


async def test_a_builder_that_is_killed_is_taken_over(
    bus: Bus, server: EmbeddedServer, worker: Make, tmp_path: Path
) -> None:
    two = worker("w2")
    grant = await grant_of(bus, "j2", "w2")
    folder = tmp_path / "killed"
    folder.mkdir()
    first = await grant_of(bus, "j1", "w1")
    async with building_elsewhere(server.url, folder, first) as builder:
        waiting = asyncio.ensure_future(two.turn(grant))
        await two.until_said("Collecting something big", Stream.BUILD)
        builder.kill()
        asked = await waiting
    assert asked is not None
    assert (asked.turn, asked.number) == (Turn.BUILD, 2)
    assert "w1 began to build it and fell silent" in two.text()


async def test_a_builder_that_was_taken_over_changes_nothing_any_more(
    bus: Bus, worker: Make
) -> None:
    one, two = worker("w1"), worker("w2")
    late = await one.lease(await grant_of(bus, "j1", "w1"))
    lease = await two.lease(await grant_of(bus, "j2", "w2"))
    assert lease.number == late.number + 1
    beat = LeaseBeat(**late.model_dump(), tail=b"x", printed=1)
    assert not (await bus.request(subject("beat", "w1"), beat, LeaseAnswer)).holds
    put = PutChunk(
        **late.model_dump(), digest=BASE, index=0, sha256=hashlib.sha256(b"x").digest(), data=b"x"
    )
    with pytest.raises(Refused, match="no lease"):
        await bus.request(subject("put", "w1"), put, LeaseAnswer)
    entry = await Shelf(bus).entry("default", KEY)
    assert entry is not None
    assert (entry.worker, entry.printed) == ("w2", 0)


async def test_a_lease_of_another_worker_is_of_no_use(bus: Bus, worker: Make) -> None:
    lease = await worker("w1").lease(await grant_of(bus, "j1", "w1"))
    beat = LeaseBeat(**lease.model_dump())
    assert not (await bus.request(subject("beat", "w2"), beat, LeaseAnswer)).holds


async def test_a_failed_build_fails_those_who_wait_and_is_tried_by_later_ones(
    bus: Bus, worker: Make
) -> None:
    one, two, three = worker("w1"), worker("w2"), worker("w3")
    grant = await grant_of(bus, "j1", "w1")
    lease = await one.lease(grant)

    async def fail() -> None:
        async with one.fleet.building(lease, grant, (), one.hear) as output:
            output(Stream.BUILD, b"ERROR: no such package\n")
            await until_phase(bus, Phase.BUILDING, wanted=True)
            raise CannotPrepare("no such package", Reason.BUILD_FAILED)

    waiting = asyncio.ensure_future(two.turn(await grant_of(bus, "j2", "w2")))
    with pytest.raises(CannotPrepare):
        await fail()
    with pytest.raises(CannotPrepare, match="no such package") as caught:
        await waiting
    assert caught.value.reason is Reason.BUILD_FAILED
    assert (await three.lease(await grant_of(bus, "j3", "w3"))).number == 2


async def test_a_build_that_failed_for_want_of_disk_is_tried_by_one_who_waits(
    bus: Bus, worker: Make
) -> None:
    one, two = worker("w1"), worker("w2")
    grant = await grant_of(bus, "j1", "w1")
    lease = await one.lease(grant)
    waiting = asyncio.ensure_future(two.turn(await grant_of(bus, "j2", "w2")))

    async def fail() -> None:
        async with one.fleet.building(lease, grant, (), one.hear):
            await until_phase(bus, Phase.BUILDING, wanted=True)
            raise CannotPrepare("no space left on device", Reason.DISK_FULL)

    with pytest.raises(CannotPrepare):
        await fail()
    asked = await waiting
    assert asked is not None
    assert (asked.turn, asked.because) == (Turn.BUILD, "w1 gave it up")


async def test_a_cancelled_build_is_taken_up_at_once(bus: Bus, worker: Make) -> None:
    one, two = worker("w1"), worker("w2")
    building = asyncio.ensure_future(build(one, await grant_of(bus, "j1", "w1"), asyncio.Event()))
    await one.until_said("Collecting six", Stream.BUILD)
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    await until_phase(bus, Phase.FREE)
    assert (await two.lease(await grant_of(bus, "j2", "w2"))).number == 2


async def test_one_who_waits_can_be_cancelled(bus: Bus, worker: Make) -> None:
    one, two = worker("w1"), worker("w2")
    lease = await one.lease(await grant_of(bus, "j1", "w1"))
    waiting = asyncio.ensure_future(two.turn(await grant_of(bus, "j2", "w2")))
    await two.until_said("waiting for it")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    answer = await bus.request(subject("beat", "w1"), LeaseBeat(**lease.model_dump()), LeaseAnswer)
    assert answer.holds


@pytest.mark.parametrize(
    ("lasting", "turn"), [(True, Turn.ALONE), (False, Turn.BUILD)], ids=["never", "not now"]
)
async def test_an_image_that_cannot_be_shared_keeps_nobody_waiting(
    bus: Bus, worker: Make, lasting: bool, turn: Turn
) -> None:
    one, two = worker("w1"), worker("w2")
    one.lasting = lasting
    await build(one, await grant_of(bus, "j1", "w1"))
    asked = await two.turn(await grant_of(bus, "j2", "w2"))
    assert asked is not None
    assert asked.turn is turn


async def test_pools_do_not_share(bus: Bus, worker: Make) -> None:
    await build(worker("w1"), await grant_of(bus, "j1", "w1"))
    other = await grant_of(bus, "j8", "w8", pool="other")
    assert (await worker("w8").lease(other)).number == 1


async def test_a_superseded_attempt_gets_no_turn(bus: Bus, worker: Make) -> None:
    grant = await grant_of(bus, "j1", "w1")
    ask = Ask(job="j1", attempt=1, nonce="guessed", key=KEY)
    with pytest.raises(Refused, match="superseded"):
        await bus.request(subject("ask", "w1"), ask, Asked)
    with pytest.raises(Refused):
        await bus.request(subject("ask", "w2"), ask, Asked)
    assert (await worker("w1").lease(grant)).number == 1


async def test_without_the_service_each_builds_for_itself(bus: Bus, tmp_path: Path) -> None:
    one = Worker(bus, "w1", tmp_path)
    fleet = Fleet(bus, "w1", one.shares)
    grant = await grant_of(bus, "j1", "w1")
    asked = await fleet.turn(grant, KEY, one.is_here, one.hear)
    assert asked is not None
    assert asked.turn is Turn.ALONE
    assert "does not answer" in asked.because
