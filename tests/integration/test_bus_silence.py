"""A reader that waits knows whether anybody still keeps its request."""

from __future__ import annotations

import asyncio
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
    monkeypatch.setattr(fetch, "SILENCE", 1.0)
    await declare_durable(bus, READER)
    async with Fetcher(bus, bus.nc, READER.stream, READER.name) as made:
        yield made


async def test_an_idle_stream_is_not_taken_for_a_dead_one(fetcher: Fetcher) -> None:
    await fetcher.ask(1, expires=3.0)
    assert await fetcher.next() is None


async def test_a_request_that_nobody_keeps_is_given_up_long_before_it_expires(
    bus: Bus, fetcher: Fetcher
) -> None:
    await bus.api(f"CONSUMER.DELETE.{READER.stream}.{READER.name}")

    async def swallow(_: Msg) -> None:
        """As a server that dies with the request."""

    subject = f"$JS.API.CONSUMER.MSG.NEXT.{READER.stream}.{READER.name}"
    async with bus.subscribe(subject, swallow):
        await bus.flush()
        await fetcher.ask(1, expires=30.0)
        with pytest.raises(PullBroken, match="no sign of life"):
            await fetcher.next()


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
