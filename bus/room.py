"""What becomes of the store when its disk fills, and afterwards?

Three lines of defence. While there is little room left the streams that grow fast take nothing more
(whoever writes there gets ``StoreFull``), so that facts and keys go on in what is left. A file that
keeps some room occupied is given up for them then. And a stream that met a full disk all the same
stays broken until its server restarts, so the server is restarted once there is room.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bus.connection import Bus
from bus.errors import BusError, NotFound
from bus.layout import BUNDLES, CHECKPOINTS, CHUNKS, LOGS, METRICS, OUTPUTS, UPLOADS
from bus.link import BusConfig

log = logging.getLogger(__name__)

CLOSED = (LOGS, METRICS, BUNDLES, CHUNKS, UPLOADS, OUTPUTS, CHECKPOINTS)
"""Not the sealed logs: what is written there makes room in ``LOGS``."""
BOUND = "stoker-bound"
"""In a closed stream's metadata: the bound that it had before, which outlives any process."""
MOST_OCCUPIED = 64 << 20
NO_ROOM = (b"no space left on device", b"disk quota exceeded")
LOOK_OFTEN, LOOK_SELDOM = 1.0, 5.0
"""Seconds between two looks at the disk: near its end, and while nothing can fill it meanwhile."""
FASTEST = 4 << 30
"""Bytes that a disk takes in a second."""
TAIL = 1 << 20
"""Most bytes of the server's log that are looked at in one go."""


@dataclass(frozen=True)
class Reserve:
    """Bytes of a disk, by its size."""

    low: int
    """Less free than this: the streams are closed."""
    occupied: int

    @classmethod
    def of(cls, size: int, most: int) -> Reserve:
        low = min(most, size // 10)
        return cls(low, min(MOST_OCCUPIED, low // 4))

    @property
    def again(self) -> int:
        """More free than this: they are opened again."""
        return self.low + self.low // 2 + self.occupied

    @property
    def restart(self) -> int:
        """More free than this: a broken server starts into something."""
        return max(self.occupied // 2, 1 << 20)

    def pause(self, free: int) -> float:
        """Seconds in which nothing can bring ``free`` bytes below ``low``, within bounds."""
        return max(LOOK_OFTEN, min((free - self.low) / FASTEST, LOOK_SELDOM))


class Guard:
    """Watches the disk of one embedded server; ``look`` is called now and then."""

    def __init__(
        self,
        data: Path,
        most: int,
        connection: Callable[[], BusConfig],
        restart: Callable[[], Awaitable[None]],
    ) -> None:
        self._data = data
        self._reserve = Reserve.of(shutil.disk_usage(data).total, most)
        self._connection = connection
        self._restart = restart
        self._file = data / "reserve"
        self._log = data / "nats-server.log"
        self._read = log_size(self._log)
        self._broken = False
        self._closed: bool | None = None
        """None: not known yet; an earlier process may have closed them."""
        self.pause = LOOK_OFTEN
        """Seconds until the next look is due."""

    async def look(self) -> None:
        free = shutil.disk_usage(self._data).free
        self.pause = self._reserve.pause(free)
        self._broken = self._broken or self._met_full_disk()
        if free < self._reserve.low:
            self._file.unlink(missing_ok=True)
        if self._broken and free > self._reserve.restart:
            log.error("a stream met a full disk: nats-server is restarted, now that there is room")
            await self._restart()
            self._broken = False
            self._read = log_size(self._log)
        if free < self._reserve.low and self._closed is not True:
            if await self._turn(close):
                log.error("%s is nearly full: no uploads, logs wait at the workers", self._data)
                self._closed = True
        elif free > self._reserve.again and self._closed is not False:
            self._occupy()
            if await self._turn(reopen):
                log.info("%s has room", self._data)
                self._closed = False

    def _met_full_disk(self) -> bool:
        """Whether the server has written so since the last look."""
        try:
            with open(self._log, "rb") as file:
                file.seek(max(self._read, log_size(self._log) - TAIL))
                told = file.read(TAIL)
                self._read = file.tell()
        except OSError:
            return False
        return any(words in told for words in NO_ROOM)

    def _occupy(self) -> None:
        """Where the system cannot do it there is less to give up."""
        if self._file.exists() or not hasattr(os, "posix_fallocate"):
            return
        with contextlib.suppress(OSError), open(self._file, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, self._reserve.occupied)

    async def _turn(self, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> bool:
        """Whether every stream that is there is set so now."""
        done = True
        try:
            async with Bus.connect(self._connection()) as bus:
                for stream in CLOSED:
                    try:
                        changed = change(await bus.api(f"STREAM.INFO.{stream.name}"))
                        if changed is not None:
                            await bus.api(f"STREAM.UPDATE.{stream.name}", changed)
                    except NotFound:
                        done = done and change is reopen  # else it is made with its full bound
                    except BusError as error:
                        log.warning("%s keeps its bound: %s", stream.name, error)
                        done = False
        except BusError as error:
            log.warning("the streams keep their bounds: %s", error)
            return False
        return done


def log_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def close(info: dict[str, Any]) -> dict[str, Any] | None:
    """The stream's configuration with its size of now as its bound. None: it is so already."""
    config = info["config"]
    metadata = config.get("metadata") or {}
    if BOUND in metadata:
        return None
    metadata = {**metadata, BOUND: str(config["max_bytes"])}
    return {**config, "max_bytes": max(1, info["state"]["bytes"]), "metadata": metadata}


def reopen(info: dict[str, Any]) -> dict[str, Any] | None:
    """Its inverse."""
    config = info["config"]
    metadata = dict(config.get("metadata") or {})
    if BOUND not in metadata:
        return None
    bound = int(metadata.pop(BOUND))
    return {**config, "max_bytes": bound, "metadata": metadata}
