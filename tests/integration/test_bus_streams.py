"""Records, buckets, tickets and readers keep their word through conflicts, kills and cuts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

import pytest

from bus.connection import Bus
from bus.consume import Done, Outcome, consume
from bus.errors import BusError, Conflict, NotFound
from bus.follow import Delivery, follow
from bus.kv import Bucket
from bus.layout import declare, declare_class, declare_pool
from bus.pull import Pull, PulledTicket
from bus.records import Records
from bus.server import EmbeddedServer
from bus.subjects import JOBS_ALL
from bus.tickets import publish_ticket, unclaimed, withdraw_ticket
from schemas.job import Fact
from schemas.worker import ClassRecord, Requirement
from tests.unit.test_codec import a_fact

CLASS = ClassRecord(
    pool="default", name="small", requirement=Requirement(cpus=1, memory=1), used_at=0.0
)


@pytest.fixture
async def pool(bus: Bus) -> str:
    await declare_pool(bus, CLASS.pool)
    await declare_class(bus, CLASS)
    return CLASS.pool


async def put(bus: Bus, job: str, subject: str = "stoker.metric.{}.1.box") -> None:
    while True:
        try:
            await bus.append(subject.format(job), job.encode(), timeout=1.0)
            return
        except BusError:
            await asyncio.sleep(0.05)


async def take(reader: AsyncIterator[Delivery], number: int, seconds: float = 20) -> list[Delivery]:
    async with asyncio.timeout(seconds):
        return [await anext(reader) for _ in range(number)]


async def restart(bus: Bus, server: EmbeddedServer) -> None:
    killed = server.pid
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(15):
        while server.pid == killed or not bus.connected:  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.02)


async def test_declaring_again_changes_nothing(bus: Bus) -> None:
    await asyncio.gather(*(declare(bus) for _ in range(3)))


@pytest.mark.parametrize("fact", [Fact.QUEUED, Fact.CANCELLED])
async def test_of_64_writers_one_wins(bus: Bus, fact: Fact) -> None:
    records = Records(bus)
    record = a_fact().record
    first = await records.write(record, Fact.SUBMITTED, 0)
    outcomes = await asyncio.gather(
        *(records.write(record, fact, first) for _ in range(64)), return_exceptions=True
    )
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 63


async def test_a_job_that_is_not_there_is_not_found(bus: Bus) -> None:
    with pytest.raises(NotFound, match="there is no job j9"):
        await Records(bus).get("j9")


async def test_only_the_last_fact_remains_of_an_ended_job(bus: Bus) -> None:
    records = Records(bus)
    record = a_fact().record
    first = await records.write(record, Fact.SUBMITTED, 0)
    last = await records.write(record, Fact.SUCCEEDED, first)
    await records.keep_last("j1")
    async with aclosing(follow(bus, "JOBS", JOBS_ALL)) as facts:
        assert (await anext(facts)).sequence == last
    with pytest.raises(Conflict):
        await records.write(record, Fact.SUBMITTED, 0)


async def test_a_key_is_created_once_and_updated_by_revision(bus: Bus) -> None:
    bucket = Bucket(bus, "requests")
    revision = await bucket.create("ann.key", b"j1")
    with pytest.raises(Conflict):
        await bucket.create("ann.key", b"j2")
    newer = await bucket.update("ann.key", b"j3", revision)
    with pytest.raises(Conflict):
        await bucket.update("ann.key", b"j4", revision)
    entry = await bucket.get("ann.key")
    assert entry is not None
    assert (entry.value, entry.revision) == (b"j3", newer)
    await bucket.delete("ann.key")
    assert await bucket.get("ann.key") is None
    assert await bucket.all() == {}


async def test_a_follower_has_no_gap_and_no_repeat_over_a_kill(
    bus: Bus, server: EmbeddedServer
) -> None:
    durable = "$KV.requests.{}"
    async with aclosing(follow(bus, "KV_requests", "$KV.requests.>")) as reader:
        for number in range(50):
            await put(bus, f"a{number}", durable)
        before = await take(reader, 50)
        await restart(bus, server)
        for number in range(50):
            await put(bus, f"b{number}", durable)
        after = await take(reader, 50)
    sequences = [delivery.sequence for delivery in before + after]
    assert sequences == list(range(1, 101))


async def test_a_follower_goes_on_where_a_lazy_stream_lost_its_end(
    bus: Bus, server: EmbeddedServer
) -> None:
    async with aclosing(follow(bus, "METRICS", "stoker.metric.>")) as reader:
        for number in range(50):
            await put(bus, f"a{number}")
        await take(reader, 50)
        await restart(bus, server)
        for number in range(50):
            await put(bus, f"b{number}")
        after = await take(reader, 50)
    assert [delivery.data for delivery in after] == [b"b%d" % number for number in range(50)]


async def test_a_follower_goes_on_when_its_consumer_is_deleted(bus: Bus) -> None:
    async with aclosing(follow(bus, "METRICS", "stoker.metric.>")) as reader:
        await put(bus, "a")
        first = await take(reader, 1)
        names = (await bus.api("CONSUMER.NAMES.METRICS"))["consumers"]
        for name in names:
            await bus.api(f"CONSUMER.DELETE.METRICS.{name}")
        await put(bus, "b")
        assert [d.data for d in first + await take(reader, 1)] == [b"a", b"b"]


async def test_a_follower_of_new_messages_misses_none_that_came_while_it_began_anew(
    bus: Bus, server: EmbeddedServer
) -> None:
    await put(bus, "old")
    async with aclosing(follow(bus, "METRICS", "stoker.metric.>", after=None)) as reader:
        coming = asyncio.ensure_future(take(reader, 2))
        async with asyncio.timeout(5):
            while not (await bus.api("CONSUMER.NAMES.METRICS"))["consumers"]:  # noqa: ASYNC110  # the server tells no event
                await asyncio.sleep(0.02)
        await restart(bus, server)
        await put(bus, "new1")
        await put(bus, "new2")
        assert [d.data for d in await coming] == [b"new1", b"new2"]


async def test_a_thousand_short_followers_leave_no_consumer(bus: Bus) -> None:
    await put(bus, "a")

    async def one() -> None:
        async with aclosing(follow(bus, "METRICS", "stoker.metric.>")) as reader:
            await take(reader, 1)

    for _ in range(10):
        await asyncio.gather(*(one() for _ in range(100)))
    await bus.flush()
    async with asyncio.timeout(5):
        while (await bus.api("CONSUMER.NAMES.METRICS"))["consumers"]:  # noqa: ASYNC110  # the server tells no event
            await asyncio.sleep(0.02)


async def test_a_second_ticket_of_a_job_is_refused(bus: Bus, pool: str) -> None:
    assert await publish_ticket(bus, pool, "small", "j1")
    assert not await publish_ticket(bus, pool, "small", "j1")
    assert await unclaimed(bus, pool, "small") == 1
    await withdraw_ticket(bus, pool, "j1")
    assert await unclaimed(bus, pool, "small") == 0


async def next_ticket(tickets: AsyncIterator[PulledTicket], seconds: float = 20) -> PulledTicket:
    async with asyncio.timeout(seconds):
        return await anext(tickets)


async def test_a_ticket_that_is_given_back_comes_again(bus: Bus, pool: str) -> None:
    pull = Pull(bus, pool, "small")
    pull.want(2)
    await publish_ticket(bus, pool, "small", "j1")
    async with aclosing(pull.tickets()) as tickets:
        await (await next_ticket(tickets)).back()
        again = await next_ticket(tickets, 3)
        assert again.job == "j1"
        await again.ack()
    async with asyncio.timeout(5):
        while not await publish_ticket(bus, pool, "small", "j1"):  # noqa: ASYNC110  an ack is not answered
            await asyncio.sleep(0.02)


async def test_no_more_tickets_come_than_there_is_room_for(bus: Bus, pool: str) -> None:
    for number in range(5):
        await publish_ticket(bus, pool, "small", f"j{number}")
    pull = Pull(bus, pool, "small")
    pull.want(2)
    async with aclosing(pull.tickets()) as tickets:
        taken = [await next_ticket(tickets) for _ in range(2)]
        info = await bus.api(f"CONSUMER.INFO.WORK_{pool}.small")
        assert (info["num_ack_pending"], info["num_pending"]) == (2, 3)
        pull.want(1)
        taken.append(await next_ticket(tickets))
    assert [ticket.job for ticket in taken] == ["j0", "j1", "j2"]


async def test_a_pull_goes_on_over_a_kill_of_the_server(
    bus: Bus, server: EmbeddedServer, pool: str
) -> None:
    pull = Pull(bus, pool, "small")
    pull.want(1)
    async with aclosing(pull.tickets()) as tickets:
        coming = asyncio.ensure_future(next_ticket(tickets))
        await restart(bus, server)
        await publish_ticket(bus, pool, "small", "j1")
        assert (await coming).job == "j1"


async def test_a_pull_goes_on_when_its_class_is_deleted_and_made_again(bus: Bus, pool: str) -> None:
    pull = Pull(bus, pool, "small")
    pull.want(1)
    async with aclosing(pull.tickets()) as tickets:
        coming = asyncio.ensure_future(next_ticket(tickets))
        async with asyncio.timeout(5):
            while not (await bus.api(f"CONSUMER.INFO.WORK_{pool}.small"))["num_waiting"]:  # noqa: ASYNC110  # the server tells no event
                await asyncio.sleep(0.02)
        await bus.api(f"CONSUMER.DELETE.WORK_{pool}.small")
        await declare_class(bus, CLASS)
        await publish_ticket(bus, pool, "small", "j1")
        assert (await coming).job == "j1"


async def test_a_message_whose_handler_failed_comes_again_to_another(bus: Bus) -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def handler(delivery: Delivery) -> Outcome:
        seen.append(delivery.subject)
        if len(seen) == 1:
            raise BusError("not now")
        done.set()
        return Done()

    task = asyncio.ensure_future(consume(bus, "JOBS", "archive", handler))
    try:
        await Records(bus).write(a_fact().record, Fact.SUCCEEDED, 0)
        async with asyncio.timeout(10):
            await done.wait()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert seen == ["stoker.job.j1.succeeded"] * 2
