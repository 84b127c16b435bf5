"""What time is it, whatever this machine's clock says?"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime

from bus.connection import Bus
from bus.errors import BusError

log = logging.getLogger(__name__)

LOOK_EVERY = 30.0
"""Seconds."""
APART = 1.0
"""Seconds by which the machine's own clock may differ before it is told."""


class ServerClock:
    """The NATS server's time: the same for every service, so that what one wrote another can use.

    Between two looks it goes on by the monotonic clock: a clock that is set does not move it.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._offset = time.time() - time.monotonic()
        self._told = False

    async def keep(self) -> None:
        """For ever: looks now and then."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Asks the server; where it does not answer, the clock goes on as it was."""
        sent = time.monotonic()
        try:
            told = await server_time(self._bus, "JOBS")
        except BusError as error:
            log.info("the server's time is not known anew: %s", error)
            return
        middle = (sent + time.monotonic()) / 2
        self._offset = told - middle
        apart = time.time() - self.now()
        if abs(apart) > APART and not self._told:
            self._told = True
            log.warning("this machine's clock is %+.0f s off the NATS server's", apart)

    def now(self) -> float:
        """Unix seconds."""
        return time.monotonic() + self._offset


async def server_time(bus: Bus, stream: str) -> float:
    """Unix seconds by the clock that stamps the stream's messages: to be compared with these."""
    info = await bus.api(f"STREAM.INFO.{stream}")
    return datetime.fromisoformat(info["ts"]).timestamp()
