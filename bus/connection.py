"""How does a part speak to NATS: publish, ask, append?"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import msgpack
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, Error, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from bus.codec import decode, encode
from bus.errors import BusError, Conflict, NotFound, Refused, StoreFull, Unanswered
from bus.leaders import replace_leader
from bus.link import BusConfig, Handler, Link, ask, backoff
from schemas.message import Message
from schemas.problem import Problem

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Message)

ERROR_HEADER = "Stoker-Error"
UNAVAILABLE = "bus_unavailable"
"""The refusal of a service that got no answer itself, from the store say."""
REQUEST_TIMEOUT = 2.0
"""Seconds that one try of a request may take before it is repeated."""
API_TIMEOUT = 5.0
"""Seconds for one call of JetStream's API or one acknowledged publish."""
LEADERLESS_AGAIN = 0.5
"""Most seconds between two tries while a stream has no leader."""
REPLACED_AGAIN = 30.0
"""Least seconds between two leaders that are sent away."""

WRONG_LAST_SEQUENCE = 10071
UNDER_WAY = 10164
"""A cluster stores another write to this subject at the moment; what it says is the same, without a
number."""
FULL_CODES = frozenset({10023, 10047, 10077, 10119})
"""Resources exceeded, storage exceeded, stream limits hit (err codes of nats-server)."""
ABSENT_CODES = frozenset({10014, 10037, 10059})
"""No such consumer, message, stream."""


class JetStreamError(BusError):
    """JetStream's API answered with an error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Untaken(Unanswered):
    """No stream took the message: it was certainly not stored."""


class Busy(Conflict):
    """Another write to the subject is under way: whether it will be stored is not known yet."""


class Bus:
    """One part's connections: one for control, one for bulk, each rebuilt when it is lost."""

    def __init__(self, config: BusConfig) -> None:
        self.config = config
        self._control = Link(config, "control")
        self._bulk = Link(config, "bulk")
        self._replaced_at = -REPLACED_AGAIN

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, config: BusConfig) -> AsyncIterator[Bus]:
        """Raises ``Unanswered`` where no server answers within ``connect_timeout``."""
        bus = cls(config)
        try:
            await bus._control.open()
            yield bus
        finally:
            await bus._bulk.close()
            await bus._control.close()

    @property
    def nc(self) -> Client:
        """The control connection's client. For ``bus/`` alone."""
        return self._control.client

    async def bulk(self) -> Client:
        """The client for objects and logs: a big transfer never delays a beat."""
        await self._bulk.open()
        return self._bulk.client

    @property
    def connected(self) -> bool:
        return self._control.connected

    @property
    def max_payload(self) -> int:
        return self.nc.max_payload

    async def publish(self, subject: str, message: Message) -> None:
        """Without an acknowledgement: for nudges that something else repeats."""
        data, headers = encode(message)
        try:
            await self.nc.publish(subject, data, headers=headers)
        except Error as error:
            raise BusError(f"{subject} was not published: {error}") from error

    async def request(
        self,
        subject: str,
        message: Message,
        answer: type[T],
        *,
        timeout: float = REQUEST_TIMEOUT,
        attempts: int = 5,
        bulk: bool = False,
    ) -> T:
        """The answer; each try takes at most ``timeout`` seconds and is repeated.

        Also where the service says that the bus did not answer it: what it began may have been
        done. ``bulk`` takes the second connection, for what is big. Raises ``Refused`` where the
        service says no, ``Unanswered`` after the last try.
        """
        data, headers = encode(message)
        reply = await self._ask(subject, data, headers, timeout, attempts, bulk)
        if reply.headers and ERROR_HEADER in reply.headers:
            raise Refused(Problem.model_validate(msgpack.unpackb(reply.data)))
        return decode(answer, reply.data, reply.headers)

    async def _ask(
        self,
        subject: str,
        data: bytes,
        headers: dict[str, str],
        timeout: float,
        attempts: int,
        bulk: bool,
    ) -> Msg:
        for attempt in range(attempts):
            try:
                client = await self.bulk() if bulk else self.nc
                reply = await ask(client, subject, data, timeout, headers)
                if attempt + 1 == attempts or not unavailable(reply):
                    return reply
                await asyncio.sleep(backoff(attempt, timeout))
            except NoRespondersError:
                await asyncio.sleep(backoff(attempt, timeout))
            except NatsTimeout:
                continue
            except (ConnectionClosedError, Error) as error:
                log.warning("request to %s: %s", subject, error)
                await asyncio.sleep(backoff(attempt, timeout))
        raise Unanswered(subject, timeout * attempts)

    @contextlib.asynccontextmanager
    async def subscribe(
        self, subject: str, handler: Handler, queue: str = ""
    ) -> AsyncIterator[Subscription]:
        """A core subscription for as long as the context lasts; rebuilt with the client.

        ``handler`` is called for one message after the other and must not raise.
        """
        async with self._control.subscription(subject, handler, queue) as subscription:
            yield subscription

    async def api(
        self, verb: str, body: dict[str, Any] | None = None, timeout: float = API_TIMEOUT
    ) -> dict[str, Any]:
        """One call of ``$JS.API.<verb>``.

        Raises ``NotFound``, ``Conflict``, ``StoreFull`` or ``JetStreamError``, and ``Unanswered``.
        """
        payload = json.dumps(body).encode() if body is not None else b""
        try:
            reply = await ask(self.nc, f"$JS.API.{verb}", payload, timeout)
        except (NatsTimeout, NoRespondersError, ConnectionClosedError) as error:
            raise Unanswered(verb, timeout) from error
        answer: dict[str, Any] = json.loads(reply.data)
        raise_error(answer)
        return answer

    async def append(
        self,
        subject: str,
        data: bytes,
        headers: dict[str, str] | None = None,
        *,
        timeout: float = API_TIMEOUT,
        client: Client | None = None,
    ) -> int:
        """Publishes into the subject's stream; the sequence that the stream gave it.

        Raises ``Conflict`` (an expectation did not hold), ``StoreFull``, ``Unanswered`` (it may
        have been stored all the same). While a cluster elects the stream's leader nobody takes the
        message: it is sent again for as long as ``timeout`` allows. The same where another write to
        the subject is under way; a leader that says so for all that time has lost count.
        """
        deadline = time.monotonic() + timeout
        for attempt in itertools.count():
            try:
                return await self.append_once(
                    subject, data, headers, timeout=timeout, client=client
                )
            except Untaken:
                if time.monotonic() > deadline:
                    raise
            except Busy as error:
                if time.monotonic() > deadline:
                    await self._replace_leader(subject)
                    raise Untaken(subject, timeout) from error
            await asyncio.sleep(backoff(attempt, LEADERLESS_AGAIN))
        raise AssertionError("counting does not end")

    async def _replace_leader(self, subject: str) -> None:
        if time.monotonic() - self._replaced_at >= REPLACED_AGAIN:
            self._replaced_at = time.monotonic()
            await replace_leader(self.api, subject)

    async def append_once(
        self,
        subject: str,
        data: bytes,
        headers: dict[str, str] | None = None,
        *,
        timeout: float = API_TIMEOUT,
        client: Client | None = None,
    ) -> int:
        """The same, never sent again: what follows on its heels would overtake it.

        Raises ``Untaken`` where nobody took it: a stream whose leader is being elected is not told
        from one that does not exist.
        """
        try:
            reply = await ask(client or self.nc, subject, data, timeout, headers)
        except NoRespondersError as error:
            raise Untaken(subject, timeout) from error
        except (NatsTimeout, ConnectionClosedError) as error:
            raise Unanswered(subject, timeout) from error
        except Error as error:
            raise BusError(f"{subject} was not stored: {error}") from error
        answer: dict[str, Any] = json.loads(reply.data)
        raise_error(answer)
        sequence: int = answer["seq"]
        return sequence

    @contextlib.contextmanager
    def on_reconnect(self, callback: Callable[[], None], client: Client) -> Iterator[None]:
        """Calls back after the client's connection came back: open pulls are gone by then."""
        link = self._bulk if self._bulk.owns(client) else self._control
        link.watchers.add(callback)
        try:
            yield
        finally:
            link.watchers.discard(callback)

    async def flush(self, timeout: float = API_TIMEOUT) -> None:
        """Until the server has taken in all that was said so far."""
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        try:
            await self.nc.flush(int(timeout) or 1)
        except Error as error:
            raise BusError(f"the bus did not answer: {error}") from error
        # Its ``asyncio.wait_for`` swallows a cancellation that meets the answer (Python 3.11).
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


def unavailable(reply: Msg) -> bool:
    return (reply.headers or {}).get(ERROR_HEADER) == UNAVAILABLE


def raise_error(answer: dict[str, Any]) -> None:
    error = answer.get("error")
    if error is None:
        return
    code, text = error.get("err_code", 0), error.get("description", "unknown error")
    if code == UNDER_WAY:
        raise Busy(text)
    if code == WRONG_LAST_SEQUENCE or "wrong last sequence" in text:
        raise Conflict(text)
    if code in FULL_CODES:
        raise StoreFull(text)
    if code in ABSENT_CODES:
        raise NotFound(text)
    raise JetStreamError(code, text)
