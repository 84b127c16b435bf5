"""Is the server that we are connected to cut off from most of its cluster?

Such a server keeps its clients, and can do nothing for them: it stores nothing, and whoever answers
requests is elsewhere. It tells its clients, though, which servers it still hears; the library adds
what is new there to its list and drops the news of what is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from nats.aio.client import Client
from nats.errors import Error

from bus.errors import BusError
from bus.trust import Plain

log = logging.getLogger(__name__)

GRACE = 1.0
"""Seconds in which a server that has just started finds the others."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two moves: where all servers are alone, none is better."""


class Member(Client):
    """A client that knows how many servers its own one hears, itself among them.

    With ``secure`` it says nothing to a server that speaks plainly: the library would, so whoever
    sits between could have it drop TLS by one word.
    """

    def __init__(self, on_cut_off: Callable[[Member], None], *, secure: bool = False) -> None:
        super().__init__()
        self._on_cut_off = on_cut_off
        self._secure = secure
        self._heard = 0
        self._most = 0
        """That any server ever told of. One server may have several addresses: all count."""

    @property
    def cut_off(self) -> bool:
        """As its server said last. Where that tells of none, itself included, nothing is known."""
        return 0 < self._heard * 2 <= self._most

    def hang_up(self) -> None:
        """For good: where its closing was cut off, the library leaves the connection open."""
        if self._transport:
            self._transport.close()  # type: ignore[no-untyped-call]  # the library says no types

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and self._secure and not info.get("tls_required"):
            raise Plain("the server speaks without TLS")
        await super()._process_info(info, initial_connection)
        self._heard = len(info.get("connect_urls") or ())
        self._most = max(self._most, self._heard)
        if self.cut_off:
            self._on_cut_off(self)


class Mover:
    """Leads one client to a server of the majority."""

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._task: asyncio.Task[None] | None = None

    def start(self, client: Member) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._move(client))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _move(self, client: Member) -> None:
        """Any server that is not cut off will do; the client takes one after the other."""
        pause = FIRST_PAUSE
        await asyncio.sleep(GRACE)
        while client.cut_off and not client.is_closed:
            if client.is_connected:
                log.warning(
                    "nats (%s): its server is cut off from most others: to another", self._purpose
                )
                with contextlib.suppress(Error, BusError, OSError):
                    await client.force_reconnect()
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.5)
