"""How does a reader get every message of some subjects, in order, from then to now and on?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nats.aio.msg import Msg
from nats.errors import Error

from bus.connection import Bus
from bus.errors import BusError, NotFound
from bus.fetch import EXPIRES, Fetcher, PullBroken
from bus.link import backoff

log = logging.getLogger(__name__)

BATCH = 256
"""Messages asked for at one time: bounds what a slow reader holds in memory."""
INACTIVE = 60.0
"""Seconds after which the server drops a reader that went away without a word."""
STORED_WITHIN = 2.0
"""Seconds in which the server gives out what is stored already."""
SECOND = 1_000_000_000
SAME = 1e-4
"""Seconds by which the times of one message may differ after being rounded on the way."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of a stream."""

    subject: str
    sequence: int
    """Of the stream."""
    headers: dict[str, str]
    data: bytes
    pending: int
    """Messages that are stored already and come after this one."""
    time: float
    """Unix seconds at which it was stored."""


@dataclass
class Place:
    """Where a follower is: the next consumer starts behind it."""

    after: int | None
    last_per_subject: bool
    time: float = 0.0
    """At which the message ``after`` was stored, where it was read here."""
    since: str | None = None
    """Start by this time instead: the sequence stands for another message now."""


@dataclass(frozen=True)
class Options:
    stop_at_end: bool
    batch: int
    bulk: bool

    @property
    def expires(self) -> float:
        return STORED_WITHIN if self.stop_at_end else EXPIRES

    def nothing_came(self) -> None:
        """Raises ``PullBroken`` where that cannot be: ask anew how much is stored."""
        if self.stop_at_end:
            raise PullBroken("the rest was purged meanwhile, or the server stalls")


async def follow(
    bus: Bus,
    stream: str,
    subjects: str | tuple[str, ...],
    *,
    after: int | None = 0,
    last_per_subject: bool = False,
    stop_at_end: bool = False,
    batch: int = BATCH,
    bulk: bool = False,
) -> AsyncGenerator[Delivery, None]:
    """Messages behind the sequence ``after`` in order, each once; None: only new ones.

    Lasts until the reader stops, through restarts of the server and lost connections: the
    consumer is made anew behind the last message. Where a stream that syncs lazily lost its end,
    sequences come a second time, with other messages. With ``stop_at_end`` it ends once everything
    that was stored has been seen. Raises ``NotFound`` where the stream does not exist.
    ``bulk`` takes the second connection, for what is big.
    """
    filters = (subjects,) if isinstance(subjects, str) else subjects
    place = Place(after, last_per_subject)
    options = Options(stop_at_end, batch, bulk)
    if after is None:
        place.after = await last_sequence(bus, stream)
    attempt = 0
    while True:
        try:
            if attempt:
                await look_back(bus, stream, place)
            async for delivery in read_consumer(bus, stream, filters, place, options):
                attempt = 0
                place.after, place.time = delivery.sequence, delivery.time
                yield delivery
            return
        except NotFound:
            if attempt > 3:
                raise
        except (PullBroken, BusError, Error, OSError) as error:
            log.info("following %s again: %s", stream, error)
        await asyncio.sleep(backoff(attempt, 2.0))
        attempt += 1


async def look_back(bus: Bus, stream: str, place: Place) -> None:
    """Whether the last message that was read is still the one of its sequence.

    A stream that syncs lazily and was killed gives its last sequences out a second time: then the
    next consumer starts by time.
    """
    place.since = None
    if not place.after or not place.time:
        return
    if await last_sequence(bus, stream) >= place.after:
        try:
            found = await bus.api(f"STREAM.MSG.GET.{stream}", {"seq": place.after})
        except NotFound:
            return
        if abs(stored_time(found["message"]) - place.time) < SAME:
            return
    log.warning("%s lost the end that was read already", stream)
    place.since = datetime.fromtimestamp(place.time + SAME, UTC).isoformat()


def stored_time(message: dict[str, Any]) -> float:
    """Unix seconds; of a message as ``STREAM.MSG.GET`` answers it, to the nanosecond."""
    return datetime.fromisoformat(message["time"][:26].rstrip("Z") + "+00:00").timestamp()


async def last_sequence(bus: Bus, stream: str) -> int:
    info = await bus.api(f"STREAM.INFO.{stream}")
    return int(info["state"]["last_seq"])


async def read_consumer(
    bus: Bus, stream: str, filters: tuple[str, ...], place: Place, options: Options
) -> AsyncGenerator[Delivery, None]:
    """One consumer's life; raises ``PullBroken`` where it has a gap or falls silent."""
    name = f"r{secrets.token_hex(8)}"
    end = await make_consumer(bus, stream, consumer_config(name, filters, place), place, options)
    if options.stop_at_end and end is None:
        await drop_consumer(bus, stream, name)
        return
    expected = 1
    client = await bus.bulk() if options.bulk else bus.nc
    async with Fetcher(bus, client, stream, name) as fetcher:
        try:
            while True:
                await fetcher.keep(options.batch, options.expires)
                if not options.bulk and bus.nc is not client:
                    raise PullBroken("the client was rebuilt")
                message = await fetcher.next()
                if message is None:
                    options.nothing_came()
                    continue
                delivery, serial = read_delivery(message)
                if serial != expected:
                    raise PullBroken(f"message {serial} came where {expected} was next")
                expected += 1
                yield delivery
                if options.stop_at_end and not delivery.pending and delivery.sequence >= (end or 0):
                    return
        finally:
            await drop_consumer(bus, stream, name)


async def make_consumer(
    bus: Bus, stream: str, config: dict[str, Any], place: Place, options: Options
) -> int | None:
    """The sequence up to which at least it has to be read; None where nothing is stored.

    A server of a cluster may have less of the stream than its leader acknowledged: the leader says.
    """
    verb = f"CONSUMER.CREATE.{stream}.{config['name']}"
    created = await bus.api(verb, {"stream_name": stream, "config": config})
    end = 0
    if options.stop_at_end and "cluster" in created and not place.since:
        end = await last_stored(bus, stream, config["filter_subjects"])
    return end if created.get("num_pending") or end > (place.after or 0) else None


async def last_stored(bus: Bus, stream: str, filters: list[str]) -> int:
    """The sequence of the last message of these subjects, as the stream's leader knows it."""
    last = 0
    for subject in filters:
        with contextlib.suppress(NotFound):
            found = await bus.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
            last = max(last, int(found["message"]["seq"]))
    return last


def consumer_config(name: str, filters: tuple[str, ...], place: Place) -> dict[str, Any]:
    config: dict[str, Any] = {
        "name": name,
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": int(INACTIVE * SECOND),
        "max_waiting": 16,
        "filter_subjects": list(filters),
    }
    if place.last_per_subject and not place.after:
        config["deliver_policy"] = "last_per_subject"
    elif place.since:
        config["deliver_policy"] = "by_start_time"
        config["opt_start_time"] = place.since
    elif place.after:
        config["deliver_policy"] = "by_start_sequence"
        config["opt_start_seq"] = place.after + 1
    else:
        config["deliver_policy"] = "all"
    return config


async def drop_consumer(bus: Bus, stream: str, name: str) -> None:
    """Best effort and not waited for: the server drops it by itself after ``INACTIVE``."""
    with contextlib.suppress(Exception):
        await bus.nc.publish(f"$JS.API.CONSUMER.DELETE.{stream}.{name}", b"")


def read_delivery(message: Msg) -> tuple[Delivery, int]:
    """The message and its number within the consumer.

    The reply subject is ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer
    seq>.<time>.<pending>``.
    """
    parts = message.reply.split(".")
    return (
        Delivery(
            message.subject,
            int(parts[5]),
            dict(message.headers or {}),
            message.data,
            int(parts[8]),
            int(parts[7]) / SECOND,
        ),
        int(parts[6]),
    )
