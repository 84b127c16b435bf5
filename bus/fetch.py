"""How are messages pulled from a consumer without polling?

Pull requests stand open at the server (``expires``) and are renewed as they are used up, so that a
message arrives at once and an idle reader costs nothing. The client's own ``fetch`` swallows
status messages and waits out its time-out (FACTS: nats-py 4).
"""

from __future__ import annotations

import asyncio
import contextlib
import json

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from bus.connection import Bus

EXPIRES = 30.0
"""Seconds that one pull request stands open."""
HEARTBEAT = 5.0
"""Seconds after which a cluster says that a request still stands, where nothing else came: the
server that held it may have died although ours is well. A server that is alone is not asked to: its
own connection says that it lives, and an idle reader wakes nobody until its request ends."""
MISSED = 2.5
"""Heartbeats that do not come: the request is forgotten."""
LATE = 5.0
"""Seconds after which the same is thought of a request whose end did not come."""
SECOND = 1_000_000_000
STATUS = "Status"
UNDELIVERED = "Nats-Pending-Messages"


class PullBroken(Exception):
    """The consumer is gone, or the server stopped answering: begin anew."""


class Fetcher:
    """Pulls from one consumer over one inbox; use as a context.

    At most ``owed`` messages are on their way, so the inbox never holds more than were asked for.
    """

    def __init__(self, bus: Bus, client: Client, stream: str, consumer: str) -> None:
        self._bus = bus
        self._client = client
        self._watch = contextlib.ExitStack()
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._messages: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._subscription: Subscription | None = None
        self._longest = 0.0
        """Seconds that a request may stand."""
        self._heard_at = 0.0
        """The last word, or the last request: by the loop's clock."""
        self.owed = 0
        """Messages that are still to come for the requests that stand at the server."""

    async def __aenter__(self) -> Fetcher:
        self._subscription = await self._client.subscribe(
            self._inbox,
            cb=self._messages.put,
            pending_msgs_limit=0,
            pending_bytes_limit=0,
        )
        self._watch.enter_context(
            self._bus.on_reconnect(lambda: self._messages.put_nowait(None), self._client)
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._watch.close()
        if self._subscription is not None:
            with contextlib.suppress(Exception):
                await self._subscription.unsubscribe()

    async def keep(self, wanted: int, expires: float = EXPIRES) -> None:
        """Asks for the rest of ``wanted`` once less than half of it is to come.

        So requests that stand side by side become one again as they end: an idle reader has one.
        """
        if self.short(wanted):
            await self.ask(wanted - self.owed, expires)

    def short(self, wanted: int) -> bool:
        return 2 * self.owed < wanted

    async def ask(self, batch: int, expires: float = EXPIRES) -> None:
        """One more pull request for ``batch`` messages; ``expires`` is in seconds."""
        self.owed += batch
        self._heard_at = asyncio.get_running_loop().time()
        self._longest = max(self._longest, expires)
        body = {"batch": batch, "expires": int(expires * SECOND)}
        if not self._alone:
            body["idle_heartbeat"] = int(min(HEARTBEAT, expires / 2) * SECOND)
        await self._client.publish(self._subject, json.dumps(body).encode(), reply=self._inbox)

    @property
    def _alone(self) -> bool:
        """Whether the server that we talk to is the one that keeps our requests."""
        told = self._client._server_info
        return bool(told.get("jetstream")) and not told.get("cluster")

    @property
    def _silence(self) -> float:
        """Seconds without any word that are too long."""
        return self._longest + LATE if self._alone else MISSED * HEARTBEAT

    async def next(self) -> Msg | None:
        """The next message; None where a request ended without one (ask again).

        Raises ``PullBroken`` where nothing came for too long, however often this was called and
        cancelled meanwhile, and after a reconnect: the server has forgotten what it was asked for.
        """
        while True:
            try:
                async with asyncio.timeout_at(self._heard_at + self._silence):
                    message = await self._messages.get()
            except TimeoutError as error:
                raise PullBroken("no sign of life") from error
            self._heard_at = asyncio.get_running_loop().time()
            if message is None:
                raise PullBroken("the connection was lost")
            if not is_status(message):
                self.owed = max(0, self.owed - 1)
                return message
            if self._ended(message):
                return None

    def waiting(self) -> bool:
        """Whether a message lies here already."""
        return not self._messages.empty()

    def _ended(self, message: Msg) -> bool:
        headers = message.headers or {}
        code = headers.get(STATUS)
        if code == "100":
            return False
        self.owed = max(0, self.owed - int(headers.get(UNDELIVERED, self.owed)))
        if code in ("404", "408"):
            return True
        text = headers.get("Description", "")
        if code == "409" and ("Max" in text or "Batch" in text or "exceeded" in text.lower()):
            return True
        raise PullBroken(f"{code} {text}")


def is_status(message: Msg) -> bool:
    """Statuses come without a reply subject; messages of a consumer always have one."""
    return not message.reply.startswith("$JS.ACK.") and bool(
        message.headers and STATUS in message.headers
    )
