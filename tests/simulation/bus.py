"""What is the bus to a process of the simulation? The methods of ``bus.connection.Bus``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgpack

from bus.connection import API_TIMEOUT, ERROR_HEADER, REQUEST_TIMEOUT
from bus.errors import BusError, Refused, Unanswered
from bus.follow import Delivery
from schemas.problem import Problem
from tests.simulation.broker import Asked, Broker, Member, Stream, Ticket
from tests.simulation.loop import Node, VirtualLoop
from tests.simulation.network import Network

NOBODY = "no responders"


Reply = Callable[[object], None]


@dataclass(frozen=True, slots=True)
class Answering:
    """The client of a message, as far as ``bus.serve`` uses it."""

    bus: SimulatedBus

    async def publish(self, reply: Reply, data: Any, headers: dict[str, str]) -> None:
        self.bus.network.to_broker(self.bus.node, lambda: reply((data, headers)))


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a subscriber gets; ``reply`` is where its answer goes."""

    subject: str
    data: Any
    headers: dict[str, str]
    reply: Reply | None
    _client: Answering


class SimulatedBus:
    """One process's connection."""

    def __init__(self, node: Node, loop: VirtualLoop, network: Network, broker: Broker) -> None:
        self.node = node
        self.loop = loop
        self.network = network
        self.broker = broker

    # JetStream.

    async def append(self, subject: str, data: Any, headers: dict[str, str] | None = None) -> int:
        sequence: int = await self.ask(
            lambda: self.broker.append(subject, data, headers or {}), subject
        )
        return sequence

    async def api(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = await self.ask(lambda: self.broker.api(verb, body or {}), verb)
        return answer

    async def ask(self, at_broker: Callable[[], object], what: str) -> Any:
        future = self.loop.create_future()

        def arrive() -> None:
            try:
                answer = at_broker()
            except BusError as error:
                answer = error
            self.network.to_node(self.node, lambda: settle(future, answer))

        self.network.to_broker(self.node, arrive)
        answer = await self._within(future, API_TIMEOUT)
        if answer is None:
            raise Unanswered(what, API_TIMEOUT)
        return answer

    async def _within(self, future: asyncio.Future[Any], seconds: float) -> Any:
        """None where nothing came in time."""
        timer = self.loop.call_later(seconds, settle, future, None, context=self.node.context)
        try:
            return await future
        finally:
            timer.cancel()

    # Requests.

    async def publish(self, subject: str, message: Any) -> None:
        self.network.to_broker(self.node, lambda: self._spread(subject, message), once=False)

    def _spread(self, subject: str, message: Any) -> None:
        for group in self.broker.listeners(subject):
            self._hand(self.network.random.choice(group), subject, message, None)

    def _hand(self, member: Member, subject: str, data: Any, reply: Reply | None) -> None:
        client = SimulatedBus(member.node, self.loop, self.network, self.broker)
        parcel = Parcel(subject, data, {}, reply, Answering(client))
        self.network.to_node(member.node, lambda: self._begin(member, parcel))

    def _begin(self, member: Member, parcel: Parcel) -> None:
        coroutine = self._handle(member, parcel)
        task = self.loop.create_task(coroutine, context=member.node.context)
        task.add_done_callback(self.loop.observe, context=member.node.context)

    async def _handle(self, member: Member, parcel: Parcel) -> None:
        if not member.node.dead:
            await member.handler(parcel)

    async def request(
        self,
        subject: str,
        message: Any,
        answer: type[Any],
        *,
        timeout: float = REQUEST_TIMEOUT,
        attempts: int = 5,
    ) -> Any:
        for attempt in range(attempts):
            got = await self._try(subject, message, timeout)
            if got is NOBODY:
                await asyncio.sleep(min(0.05 * 2.0**attempt, timeout) * self._jitter())
            elif got is not None:
                data, headers = got
                if ERROR_HEADER in headers:
                    raise Refused(Problem.model_validate(msgpack.unpackb(data)))
                assert isinstance(data, answer)
                return data
        raise Unanswered(subject, timeout * attempts)

    async def _try(self, subject: str, message: Any, timeout: float) -> Any:
        future = self.loop.create_future()

        def reply(answer: object) -> None:
            self.network.to_node(self.node, lambda: settle(future, answer))

        def arrive() -> None:
            groups = self.broker.listeners(subject)
            if groups:
                member = self.network.random.choice(groups[0])
                self._hand(member, subject, message, reply)
            else:
                reply(NOBODY)

        self.network.to_broker(self.node, arrive, once=False)
        return await self._within(future, timeout)

    def _jitter(self) -> float:
        return 0.5 + self.network.random.random()

    @contextlib.asynccontextmanager
    async def subscribe(self, subject: str, handler: Any, queue: str = "") -> AsyncIterator[None]:
        member = Member(self.node, subject, queue, handler)
        members = self.broker.members.setdefault(subject, [])
        members.append(member)
        try:
            yield
        finally:
            members.remove(member)

    async def flush(self) -> None:
        pass

    # Tickets.

    async def pull(self, class_name: str, expires: float) -> Ticket | None:
        """A ticket, or None after a while. One that does not arrive is given out again."""
        future = self.loop.create_future()
        asked = Asked(self._giver(future), self.loop.now + expires)
        self.network.to_broker(self.node, lambda: self.broker.ask_ticket(class_name, asked))
        ticket: Ticket | None = await self._within(future, expires + 0.5)
        return ticket

    def _giver(self, future: asyncio.Future[Any]) -> Callable[[Ticket], None]:
        return lambda ticket: self.network.to_node(self.node, lambda: settle(future, ticket))

    def ack(self, ticket: Ticket) -> None:
        self.network.to_broker(self.node, lambda: self.broker.ack(ticket))

    def back(self, ticket: Ticket, delay: float = 0.0) -> None:
        self.network.to_broker(self.node, lambda: self.broker.back(ticket, delay))


def settle(future: asyncio.Future[Any], answer: object) -> None:
    """Late answers fall on the floor."""
    if future.done():
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)


class Follower:
    """Reads one stream in order, whatever becomes of the link meanwhile."""

    def __init__(self, bus: SimulatedBus, stream: Stream) -> None:
        self._bus = bus
        self._stream = stream
        self._after = 0
        self._coming = False
        self._news = asyncio.Event()

    def hear(self, stream: Stream) -> None:
        if stream is self._stream and not self._coming:
            self._look_in(self._bus.network.delay())

    def _look_in(self, seconds: float) -> None:
        self._coming = True
        self._bus.loop.call_later(seconds, self._look, context=self._bus.node.context)

    def _look(self) -> None:
        self._coming = False
        if self._bus.network.whole(self._bus.node):
            self._news.set()
        elif not self._bus.node.dead:
            self._look_in(0.2 + self._bus.network.random.random())

    async def batch(self) -> list[Any]:
        while True:
            await self._news.wait()
            self._news.clear()
            found = self._bus.broker.after(self._stream, self._after)
            if found:
                self._after = found[-1].sequence
                return found


async def follow(
    bus: SimulatedBus,
    stream: str,
    subjects: object,
    *,
    last_per_subject: bool = False,
    stop_at_end: bool = False,
) -> AsyncGenerator[Delivery, None]:
    """Like ``bus.follow.follow``."""
    held = bus.broker.streams[stream]
    if stop_at_end:
        found = await bus.ask(lambda: bus.broker.after(held, 0), stream)
        for index, one in enumerate(found):
            yield delivery(one, len(found) - index - 1)
        return
    follower = Follower(bus, held)
    bus.broker.followers.append(follower)
    follower.hear(held)
    try:
        while True:
            found = await follower.batch()
            for index, one in enumerate(found):
                yield delivery(one, len(found) - index - 1)
    finally:
        bus.broker.followers.remove(follower)


def delivery(one: Any, pending: int) -> Delivery:
    return Delivery(one.subject, one.sequence, one.headers, one.data, pending, one.at)
