"""How does a part reach NATS, and stay reached?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import msgpack
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, Error, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from bus.codec import decode, encode
from bus.errors import BusError, Conflict, NotFound, Refused, StoreFull, Unanswered
from schemas.message import Message
from schemas.problem import Problem

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Message)
Handler = Callable[[Msg], Awaitable[None]]

ERROR_HEADER = "Stoker-Error"
REQUEST_TIMEOUT = 2.0
"""Seconds that one try of a request may take before it is repeated."""
API_TIMEOUT = 5.0
"""Seconds for one call of JetStream's API or one acknowledged publish."""
CONNECT_TIMEOUT = 5.0
PING_INTERVAL = 10
RECONNECT_WAIT = 0.25
PENDING_BYTES = 8 << 20
"""Bytes buffered while the connection is away."""

WRONG_LAST_SEQUENCE = 10071
FULL_CODES = frozenset({10023, 10047, 10077, 10119})
"""Resources exceeded, storage exceeded, stream limits hit (err codes of nats-server)."""
ABSENT_CODES = frozenset({10014, 10037, 10059})
"""No such consumer, message, stream."""


@dataclass(frozen=True)
class BusConfig:
    """Where NATS is and who is calling."""

    servers: tuple[str, ...] = ("nats://127.0.0.1:4222",)
    name: str = "stoker"
    inbox_prefix: str = "_INBOX"
    user: str | None = None
    password: str | None = None
    credentials: str | None = None
    """Path of a .creds file."""
    connect_timeout: float = 30.0
    """Seconds that the first connection may take, over all tries."""


class JetStreamError(BusError):
    """JetStream's API answered with an error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Bus:
    """One part's connections: one for control, one for bulk, each rebuilt when it is lost."""

    def __init__(self, config: BusConfig) -> None:
        self.config = config
        self._control = Link(config, "control")
        self._bulk = Link(config, "bulk")

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
    ) -> T:
        """The answer; each try takes at most ``timeout`` seconds and is repeated.

        Raises ``Refused`` where the service says no, ``Unanswered`` after the last try.
        """
        data, headers = encode(message)
        reply = await self._ask(subject, data, headers, timeout, attempts)
        if reply.headers and ERROR_HEADER in reply.headers:
            raise Refused(Problem.model_validate(msgpack.unpackb(reply.data)))
        return decode(answer, reply.data, reply.headers)

    async def _ask(
        self, subject: str, data: bytes, headers: dict[str, str], timeout: float, attempts: int
    ) -> Msg:
        for attempt in range(attempts):
            try:
                return await ask(self.nc, subject, data, timeout, headers)
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
        have been stored all the same), ``NotFound`` (no stream takes the subject).
        """
        try:
            reply = await ask(client or self.nc, subject, data, timeout, headers)
        except NoRespondersError as error:
            raise NotFound(f"no stream takes {subject}") from error
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


class Link:
    """One client, opened on first use, rebuilt when it was closed for good."""

    def __init__(self, config: BusConfig, purpose: str) -> None:
        self._config = config
        self._purpose = purpose
        self._client: Client | None = None
        self._closing = False
        self._lock = asyncio.Lock()
        self._rebuild: asyncio.Task[None] | None = None
        self._subscriptions: dict[object, tuple[str, Handler, str]] = {}
        self._live: dict[object, Subscription] = {}
        self.watchers: set[Callable[[], None]] = set()

    @property
    def client(self) -> Client:
        if self._client is None:
            raise BusError("the bus is not connected")
        return self._client

    def owns(self, client: Client) -> bool:
        return self._client is client

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    async def open(self) -> None:
        async with self._lock:
            if self._client is None:
                self._client = await self._connect(self._config.connect_timeout)

    async def close(self) -> None:
        self._closing = True
        if self._rebuild:
            self._rebuild.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._rebuild
        if self._client:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(3):
                    await self._client.flush(2)
            with contextlib.suppress(Exception):
                async with asyncio.timeout(3):
                    await self._client.close()

    @contextlib.asynccontextmanager
    async def subscription(
        self, subject: str, handler: Handler, queue: str
    ) -> AsyncIterator[Subscription]:
        key = object()
        self._subscriptions[key] = (subject, handler, queue)
        try:
            self._live[key] = await self.client.subscribe(subject, queue=queue, cb=handler)
            yield self._live[key]
        finally:
            del self._subscriptions[key]
            live = self._live.pop(key, None)
            if live is not None:
                with contextlib.suppress(Error):
                    await live.unsubscribe()

    async def _connect(self, seconds: float) -> Client:
        """A client whose first connection was accepted, or ``Unanswered``."""
        deadline = asyncio.get_running_loop().time() + seconds
        attempt = 0
        while True:
            client = Client()
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT + 2):
                    await client.connect(**self._options())
                    await client.flush(int(CONNECT_TIMEOUT))
                return client
            except (OSError, Error, TimeoutError) as error:
                await self._drop(client)
                if asyncio.get_running_loop().time() > deadline:
                    where = ", ".join(self._config.servers)
                    raise Unanswered(
                        f"{where} ({error or type(error).__name__})", seconds
                    ) from error
                await asyncio.sleep(backoff(attempt, CONNECT_TIMEOUT))
                attempt += 1

    async def _drop(self, client: Client) -> None:
        client.options["closed_cb"] = None
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                await client.close()

    def _options(self) -> dict[str, Any]:
        config = self._config
        options: dict[str, Any] = {
            "servers": list(config.servers),
            "name": f"{config.name} {self._purpose}",
            "inbox_prefix": config.inbox_prefix.encode(),
            "allow_reconnect": True,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT_WAIT * (1 + random.random()),
            "connect_timeout": int(CONNECT_TIMEOUT),
            "ping_interval": PING_INTERVAL,
            "max_outstanding_pings": 2,
            "drain_timeout": 3,
            "pending_size": PENDING_BYTES,
            "error_cb": self._on_error,
            "closed_cb": self._on_closed,
            "disconnected_cb": self._on_disconnected,
            "reconnected_cb": self._on_reconnected,
        }
        if config.credentials:
            options["user_credentials"] = config.credentials
        if config.user:
            options["user"], options["password"] = config.user, config.password
        return options

    async def _on_error(self, error: Exception) -> None:
        if not self._closing:
            log.warning("nats (%s): %s", self._purpose, error or type(error).__name__)

    async def _on_disconnected(self) -> None:
        if not self._closing:
            log.warning("nats (%s): disconnected", self._purpose)

    async def _on_reconnected(self) -> None:
        log.info("nats (%s): connected again", self._purpose)
        self._tell_watchers()

    def _tell_watchers(self) -> None:
        for watcher in list(self.watchers):
            watcher()

    async def _on_closed(self) -> None:
        """A fatal error (credentials that changed, say) closes the client for good: build anew."""
        if not self._closing and self._rebuild is None and self._client is not None:
            self._rebuild = asyncio.get_running_loop().create_task(self._build_anew())

    async def _build_anew(self) -> None:
        while not self._closing:
            try:
                self._client = await self._connect(60)
                for key, (subject, handler, queue) in list(self._subscriptions.items()):
                    self._live[key] = await self._client.subscribe(subject, queue=queue, cb=handler)
                self._rebuild = None
                self._tell_watchers()
                return
            except (BusError, Error, OSError) as error:
                log.error("nats (%s): cannot connect again: %s", self._purpose, error)


async def ask(
    client: Client,
    subject: str,
    data: bytes,
    timeout: float,
    headers: dict[str, str] | None = None,
) -> Msg:
    """The client's ``request`` without its ``asyncio.wait_for``.

    In Python 3.11 that swallows a cancellation which meets the answer, and the task runs on.
    """
    try:
        async with asyncio.timeout(timeout):
            return await client.request(subject, data, timeout=None, headers=headers)  # type: ignore[arg-type]  # None is what switches wait_for off
    except TimeoutError as error:
        raise NatsTimeout from error


def backoff(attempt: int, most: float) -> float:
    """Seconds to wait before the next try: 50 ms doubling, with jitter."""
    return float(min(0.05 * 2**attempt, most) * (0.5 + random.random()))


def raise_error(answer: dict[str, Any]) -> None:
    error = answer.get("error")
    if error is None:
        return
    code, text = error.get("err_code", 0), error.get("description", "unknown error")
    if code == WRONG_LAST_SEQUENCE or "wrong last sequence" in text:
        raise Conflict(text)
    if code in FULL_CODES:
        raise StoreFull(text)
    if code in ABSENT_CODES:
        raise NotFound(text)
    raise JetStreamError(code, text)
