"""How does one client stay connected, whatever happens to its server?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error
from nats.errors import TimeoutError as NatsTimeout

from bus.errors import BusError, Denied, Unanswered
from bus.majority import Member, Mover
from bus.quiet import quiet_loop
from bus.tokens import identity_of
from bus.trust import Untrusted, complaint, trust, wants_tls

log = logging.getLogger(__name__)

Handler = Callable[[Msg], Awaitable[None]]

CONNECT_TIMEOUT = 5.0
PING_INTERVAL = 10
CLUSTER_PING_INTERVAL = 2
"""Three without an answer, and the server is given up: where there are others that is worth it."""
RECONNECT_WAIT = 0.25
DENYING = ("authorization violation", "authentication")
"""What a server says to somebody whom it does not let in."""
DENIALS = 3
"""Times that it has to say so."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries to build a client anew."""
PENDING_BYTES = 8 << 20
"""Bytes buffered while the connection is away."""


@dataclass(frozen=True)
class BusConfig:
    """Where NATS is and who is calling."""

    servers: tuple[str, ...] = ("nats://127.0.0.1:4222",)
    name: str = "stoker"
    inbox_prefix: str = "_INBOX"
    user: str | None = None
    password: str | None = None
    credentials: str | None = None
    """Path of a .creds file; one of ours says which inbox is its user's."""
    token: str | None = None
    """A token that is enough without its key."""
    authority: str | None = None
    """PEM file of the only certificate authority that counts: TLS, whatever a server says."""
    tls_name: str | None = None
    """The name on the servers' certificate where it is neither the address nor our own one's."""
    connect_timeout: float = 30.0
    """Seconds that the first connection may take, over all tries."""


class Link:
    """One client, opened on first use, rebuilt when it was closed for good."""

    def __init__(self, config: BusConfig, purpose: str) -> None:
        self._config = config
        self._purpose = purpose
        self._client: Client | None = None
        self._closing = False
        self._lock = asyncio.Lock()
        self._rebuild: asyncio.Task[None] | None = None
        self._mover = Mover(purpose)
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
        await self._mover.close()
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
        """A client that was let in once. Raises ``Unanswered``, ``Denied``, ``Untrusted``."""
        deadline = asyncio.get_running_loop().time() + seconds
        secure = wants_tls(self._config.servers, self._config.authority)
        servers = random.sample(self._config.servers, len(self._config.servers))
        attempt = 0
        while True:
            client = Member(self._mover.start, secure=secure)
            greeting = Greeting(self._on_error, self._verdict, len(self._config.servers))
            task = asyncio.current_task()
            before = task.cancelling() if task else 0
            try:
                async with greeting:
                    options = {**self._options(), "error_cb": greeting.on_error}
                    await client.connect(**options, servers=servers, dont_randomize=True)
                    await client.flush(int(CONNECT_TIMEOUT))
                # Its ``asyncio.wait_for`` swallows a cancellation (Python 3.11).
                if task and task.cancelling() > before:
                    await self._drop(client)
                    raise asyncio.CancelledError
                return client
            except (OSError, Error, TimeoutError) as error:
                await self._drop(client)
                late = asyncio.get_running_loop().time() > deadline
                if greeting.verdict and (late or attempt >= DENIALS - 1):
                    raise greeting.verdict from error
                if late:
                    told = greeting.doubt or error or type(error).__name__
                    raise Unanswered(f"{self._where} ({told})", seconds) from error
                await asyncio.sleep(backoff(attempt, CONNECT_TIMEOUT))
                servers = [*servers[1:], servers[0]]
                attempt += 1

    @property
    def _where(self) -> str:
        return ", ".join(self._config.servers)

    def _complaint(self, error: BaseException) -> str | None:
        return complaint(error, self._where, self._config.authority)

    def _verdict(self, error: Exception) -> BusError | None:
        """What the server's answer means where asking again will not change it."""
        if any(words in str(error).lower() for words in DENYING):
            return Denied(self._denied(str(error)))
        told = self._complaint(error)
        return Untrusted(told) if told else None

    def _denied(self, denial: str) -> str:
        shown = self._config.credentials or ("the token" if self._config.token else "")
        whom = f"whoever shows {shown}" if shown else "nobody without credentials"
        verb = "refuses" if shown else "lets in"
        return f"NATS at {self._where} {verb} {whom} ({denial})"

    async def _drop(self, client: Member) -> None:
        client.options["closed_cb"] = None
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                await client.close()
        with contextlib.suppress(Exception):
            client.hang_up()

    def _options(self) -> dict[str, Any]:
        config = self._config
        options: dict[str, Any] = {
            "name": f"{config.name} {self._purpose}",
            "inbox_prefix": config.inbox_prefix.encode(),
            "allow_reconnect": True,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT_WAIT * (1 + random.random()),
            "connect_timeout": int(CONNECT_TIMEOUT),
            "ping_interval": CLUSTER_PING_INTERVAL if len(config.servers) > 1 else PING_INTERVAL,
            "max_outstanding_pings": 2,
            "drain_timeout": 3,
            "pending_size": PENDING_BYTES,
            "closed_cb": self._on_closed,
            "disconnected_cb": self._on_disconnected,
            "reconnected_cb": self._on_reconnected,
        }
        if wants_tls(config.servers, config.authority):
            quiet_loop()
            met = trust(config.authority, config.tls_name)
            options["tls"] = met.context
            if met.name:
                options["tls_hostname"] = met.name
        if config.credentials:
            options["user_credentials"] = config.credentials
            inbox = identity_of(Path(config.credentials)).inbox
            options["inbox_prefix"] = (inbox or config.inbox_prefix).encode()
        if config.token:
            options["user_jwt_cb"] = config.token.encode
            options["signature_cb"] = unsigned
        if config.user:
            options["user"], options["password"] = config.user, config.password
        return options

    async def _on_error(self, error: Exception) -> None:
        if not self._closing:
            told = self._complaint(error) or error or type(error).__name__
            log.warning("nats (%s): %s", self._purpose, told)

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
        pause = 1.0
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
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)


class Greeting:
    """The time that one try to connect may take; it is over at once where the server says no.

    The library itself would go on trying, or wait for ever for the end of a connection that failed
    as it was secured. Of several servers the next try begins with another, which may be believed.
    """

    def __init__(
        self,
        tell: Callable[[Exception], Awaitable[None]],
        judge: Callable[[Exception], BusError | None],
        servers: int,
    ) -> None:
        self._tell = tell
        self._judge = judge
        self._servers = servers
        self._timeout = asyncio.timeout(CONNECT_TIMEOUT + 2)
        self._over = False
        self.verdict: BusError | None = None
        self.doubt: BusError | None = None
        """What one of several servers was not believed for."""

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *exc: Any) -> None:
        self._over = True
        await self._timeout.__aexit__(*exc)

    async def on_error(self, error: Exception) -> None:
        verdict = None if self._over else self._judge(error)
        if verdict is None:
            await self._tell(error)
            return
        if isinstance(verdict, Untrusted) and self._servers > 1:
            self.doubt = verdict
        else:
            self.verdict = verdict
        self._timeout.reschedule(asyncio.get_running_loop().time())


def unsigned(_nonce: str) -> bytes:
    return b""


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
