"""A reader that waits knows whether anybody still keeps its request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg

from bus import fetch
from bus.connection import Bus
from bus.errors import Unanswered
from bus.fetch import Fetcher, PullBroken
from bus.layout import Durable, Stream, declare_durable, declare_stream

READER = Durable("JOBS", "reader", ("stoker.job.>",))


@pytest.fixture
async def fetcher(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fetcher]:
    monkeypatch.setattr(fetch, "HEARTBEAT", 0.2)
    monkeypatch.setattr(fetch, "LATE", 0.5)
    await declare_durable(bus, READER)
    async with Fetcher(bus, bus.nc, READER.stream, READER.name) as made:
        yield made


@pytest.fixture(params=[True, False])
def clustered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the server says that it is one of several."""
    clustered: bool = request.param
    monkeypatch.setattr(Fetcher, "_alone", property(lambda _: not clustered))
    return clustered


async def test_a_server_without_a_cluster_is_taken_for_one_that_is_alone(fetcher: Fetcher) -> None:
    assert fetcher._alone


async def test_an_idle_stream_is_not_taken_for_a_dead_one(
    fetcher: Fetcher, clustered: bool
) -> None:
    await fetcher.ask(1, expires=2.0)
    assert await fetcher.next() is None


async def test_a_server_that_is_alone_says_nothing_before_the_request_ends(
    bus: Bus, fetcher: Fetcher, clustered: bool
) -> None:
    told: list[str] = []

    async def note(message: Msg) -> None:
        told.append((message.headers or {})["Status"])

    async with bus.subscribe(fetcher._inbox, note):
        await bus.flush()
        await fetcher.ask(1, expires=1.0)
        assert await fetcher.next() is None
        await bus.flush()
    assert told[-1] == "408"
    assert ("100" in told) == clustered


async def test_a_request_that_nobody_keeps_is_given_up(
    bus: Bus, fetcher: Fetcher, clustered: bool
) -> None:
    """In a cluster long before it expires."""
    await bus.api(f"CONSUMER.DELETE.{READER.stream}.{READER.name}")

    async def swallow(_: Msg) -> None:
        """As a server that dies with the request."""

    subject = f"$JS.API.CONSUMER.MSG.NEXT.{READER.stream}.{READER.name}"
    async with bus.subscribe(subject, swallow):
        await bus.flush()
        await fetcher.ask(1, expires=30.0 if clustered else 0.5)
        with pytest.raises(PullBroken, match="no sign of life"):
            await fetcher.next()


async def test_whoever_waits_again_and_again_notices_it_too(bus: Bus, fetcher: Fetcher) -> None:
    """An agent is told every few seconds how much it may take, and waits anew each time."""
    await bus.api(f"CONSUMER.DELETE.{READER.stream}.{READER.name}")

    async def swallow(_: Msg) -> None:
        """As a server that dies with the request."""

    subject = f"$JS.API.CONSUMER.MSG.NEXT.{READER.stream}.{READER.name}"
    async with bus.subscribe(subject, swallow):
        await bus.flush()
        await fetcher.ask(1, expires=0.5)
        with pytest.raises(PullBroken, match="no sign of life"):
            await wait_by_moments(fetcher)


async def wait_by_moments(fetcher: Fetcher) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await fetcher.next()


async def test_requests_side_by_side_become_one(bus: Bus, fetcher: Fetcher) -> None:
    for seconds in (0.3, 0.6, 0.9):
        await fetcher.ask(2, seconds)
    for _ in range(3):
        assert await fetcher.next() is None
        await fetcher.keep(6, 60.0)
    assert fetcher.owed == 4
    info = await bus.api(f"CONSUMER.INFO.{READER.stream}.{READER.name}")
    assert info["num_waiting"] == 1


async def test_a_stream_that_nobody_leads_is_no_proof_that_there_is_none(bus: Bus) -> None:
    """While a cluster elects a leader, nobody takes what is sent to the stream."""
    with pytest.raises(Unanswered):
        await bus.append("stoker.nobody.takes.this", b"", timeout=0.2)


async def test_what_no_stream_took_is_sent_again_until_one_does(bus: Bus) -> None:
    """As while a leader is elected."""
    sent = asyncio.ensure_future(bus.append("stoker.late.stream", b"data"))
    await bus.flush()
    await declare_stream(bus, Stream("LATE", ("stoker.late.>",), 1 << 20), 1)
    assert await sent == 1
