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
HEARTBEAT = 10.0
"""Seconds between the server's signs of life on an idle pull."""
SECOND = 1_000_000_000
STATUS = "Status"


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
        self._requests: dict[str, int] = {}
        self._serial = 0

    async def __aenter__(self) -> Fetcher:
        self._subscription = await self._client.subscribe(
            f"{self._inbox}.*",
            cb=self._messages.put,
            pending_msgs_limit=-1,
            pending_bytes_limit=-1,
        )
        self._watch.enter_context(self._bus.on_reconnect(lambda: self._messages.put_nowait(None)))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._watch.close()
        if self._subscription is not None:
            with contextlib.suppress(Exception):
                await self._subscription.unsubscribe()

    @property
    def owed(self) -> int:
        return sum(self._requests.values())

    async def ask(self, batch: int) -> None:
        """One more pull request for ``batch`` messages."""
        self._serial += 1
        inbox = f"{self._inbox}.{self._serial}"
        self._requests[inbox] = batch
        body = {
            "batch": batch,
            "expires": int(EXPIRES * SECOND),
            "idle_heartbeat": int(HEARTBEAT * SECOND),
        }
        await self._client.publish(self._subject, json.dumps(body).encode(), reply=inbox)

    async def next(self) -> Msg | None:
        """The next message; None where a request ended without one (ask again).

        Raises ``PullBroken`` where nothing, not even a heartbeat, came for too long, and after a
        reconnect: the server has forgotten what it was asked for.
        """
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT * 2.5):
                    message = await self._messages.get()
            except TimeoutError as error:
                raise PullBroken("no sign of life") from error
            if message is None:
                raise PullBroken("the connection was lost")
            if not is_status(message):
                self._count(message.subject)
                return message
            if self._ended(message):
                return None

    def waiting(self) -> bool:
        """Whether a message lies here already."""
        return not self._messages.empty()

    def _count(self, inbox: str) -> None:
        left = self._requests.get(inbox, 0) - 1
        if left > 0:
            self._requests[inbox] = left
        else:
            self._requests.pop(inbox, None)

    def _ended(self, message: Msg) -> bool:
        headers = message.headers or {}
        code = headers.get(STATUS)
        if code == "100":
            return False
        self._requests.pop(message.subject, None)
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
