"""Who removes what belongs to no live attempt, by age, and what can be spared, by pressure?

Now and then, and at once when a disk is short. First goes what can be had again (environments,
images, bundles), the longest unused first; then the oldest outputs of ended attempts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from agent.attempt import Machine
from agent.disk import Disks
from agent.keeper import Keeper
from agent.outputs import Outputs
from agent.surplus import HOUR

log = logging.getLogger(__name__)

ROUND_EVERY = 60.0
HURRY_EVERY = 5.0
FRUITLESS = 15.0
"""Seconds between two rounds: while there is room; after one that made some where there was none,
and after one that could not.
"""
TRIES = 5
"""Sizes of images are guesses: so often more is asked for in one round."""


class Housekeeper:
    """Of one agent; it knows nothing but what this agent made."""

    def __init__(
        self, work: Path, machine: Machine, keeper: Keeper, outputs: Outputs, disks: Disks
    ) -> None:
        self._attempts = work / "attempts"
        self._machine = machine
        self._keeper = keeper
        self._outputs = outputs
        self._disks = disks
        self._hurry = asyncio.Event()
        self.shortage = ""
        """Why nothing new can be taken; empty where it can."""

    def look(self) -> bool:
        """Whether ``shortage`` changed. Has room made where there is little."""
        if any(self._disks.wanted()):
            self._hurry.set()
        before, self.shortage = self.shortage, self._disks.shortage(self.shortage)
        return self.shortage != before

    async def run(self, live: Callable[[], set[str]]) -> None:
        """``live``: names of the attempts that are not over."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROUND_EVERY):
                    await self._hurry.wait()
            removed = False
            try:
                removed = await self.round(live())
            except Exception:
                log.exception("housekeeping")
            self._hurry.clear()
            await asyncio.sleep(HURRY_EVERY if removed else FRUITLESS)

    async def round(self, live: set[str]) -> bool:
        """Whether there was anything to remove."""
        known = live | self._keeper.names
        await asyncio.to_thread(remove_strays, self._attempts, known, time.time())
        removed = await self._spare()
        short = self._disks.wanted()[0]
        if short:
            await self._keeper.lighten()
            freed = await asyncio.to_thread(self._outputs.trim, short)
            removed += freed > 0
        return removed > 0

    async def _spare(self) -> int:
        """What can be had again; under pressure until there is room or nothing left."""
        in_all = 0
        for _ in range(TRIES):
            work, other = self._disks.wanted()
            removed = await self._machine.runtime.clean(other)
            removed += await self._machine.bundles.clean(work)
            removed += await self._machine.data.clean(work)
            if removed:
                log.info("%d things that nobody used lately were removed", removed)
            in_all += removed
            if not removed or not (work or other):
                break
        return in_all


def remove_strays(attempts: Path, known: set[str], now: float) -> None:
    """Folders of attempts that nobody knows of any more."""
    for path in attempts.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.name not in known and now - path.lstat().st_mtime > HOUR:
                log.warning("removing %s: nobody knows of it", path.name)
                shutil.rmtree(path, ignore_errors=True)
