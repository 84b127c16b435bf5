"""When is what an attempt writes sent, and how long does its end wait for the rest?

While the program runs it is looked at now and then. The end waits as long as something gets
through, and no longer: the keeper goes on.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging
import os
import stat
import time
from pathlib import Path

from agent.folder import AttemptFolder
from agent.output_plan import Rhythm
from agent.output_sender import Sender
from bus.connection import UNAVAILABLE
from bus.errors import BusError, Refused, Unanswered

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two tries of the last round."""
FOR_GOOD = frozenset({"not_granted", "outputs_too_large", "bad_chunk"})
"""Refusals that no repetition changes."""
FOR_ALL = frozenset({"store_full", UNAVAILABLE})
"""Refusals that others would meet as well."""
ROUND_SHARE = 10
"""A look while the program runs is followed by so many times its own length without one."""
LOOK_EVERY = 0.5
KEEPER_SECONDS = 600.0
"""How long the keeper goes on with one attempt at a time, while something gets through."""


class LastRounds(abc.ABC):
    """Of one attempt and one of its folders. Subclasses say what a round is."""

    what = "outputs"

    def __init__(self, sender: Sender, folder: AttemptFolder, rhythm: Rhythm) -> None:
        self._sender = sender
        self._folder = folder
        self._rhythm = rhythm
        self._over = asyncio.Event()
        self._round = asyncio.Lock()
        self.hurry = asyncio.Event()
        """Set where the end should not wait any more: the job is being cancelled."""
        self.stored = self.settled = False
        """Whether everything is stored; whether there is nothing more to be done."""
        self.untaken = False
        """Whether it was for nobody, or a full store, that the last try stored nothing."""
        self._problem = ""

    @property
    def every(self) -> float:
        """Seconds between two looks while the program runs; 0 for none."""
        return self._rhythm.every

    @abc.abstractmethod
    async def _look(self) -> None:
        """A round while the program runs. Raises ``BusError`` and ``OSError``."""

    @abc.abstractmethod
    async def again(self, shelf: Path) -> None:
        """Once more, by the keeper: from where it lies now."""

    @abc.abstractmethod
    async def _last(self, root: str) -> None:
        """One try to store all that lies there. Raises ``BusError`` and ``OSError``."""

    async def while_running(self) -> None:
        """Until the end is told; what goes wrong is tried again."""
        while not self._over.is_set():
            begun = time.monotonic()
            try:
                await self._look()
            except (BusError, OSError) as error:
                log.info("%s: its %s wait: %s", self._folder.name, self.what, error)
            except Exception:
                log.exception("the %s of %s", self.what, self._folder.name)
            pause = max(self._rhythm.every, ROUND_SHARE * (time.monotonic() - begun))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._over.wait()

    async def _sent(self, place: Path, longest: float) -> None:
        """Until it is stored, or given up for now or for good."""
        sending = asyncio.ensure_future(self._last_round(str(place)))
        waiting = asyncio.ensure_future(self._patience(longest))
        try:
            await asyncio.wait((sending, waiting), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, waiting):
                task.cancel()
            await asyncio.gather(sending, waiting, return_exceptions=True)

    async def _last_round(self, root: str) -> None:
        pause, self.untaken = FIRST_PAUSE, False
        while True:
            try:
                async with self._round:
                    await self._last(root)
                self.stored = self.settled = True
                return
            except Refused as error:
                self._problem = str(error)
                if error.problem.code in FOR_GOOD:
                    log.warning("%s: its %s are refused: %s", self._folder.name, self.what, error)
                    self.settled = True
                    return
                self.untaken = error.problem.code in FOR_ALL
            except (BusError, OSError) as error:
                self._problem = str(error)
                self.untaken = isinstance(error, Unanswered)
            log.info("%s: its %s wait: %s", self._folder.name, self.what, self._problem)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def _patience(self, longest: float) -> None:
        """Returns when the wait is over: only time in which an answer was waited for counts."""
        begun = seen_at = time.monotonic()
        silent, steps = 0.0, self._sender.steps
        while not self.hurry.is_set():
            if silent > self._rhythm.patience or seen_at - begun > longest:
                self._problem = self._problem or "nothing got through in time"
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self.hurry.wait()
            now = time.monotonic()
            if self._sender.steps != steps:
                silent, steps = 0.0, self._sender.steps
            elif not self._sender.at_work:
                silent += now - seen_at
            seen_at = now
        self._problem = self._problem or "the job was cancelled"

    # ---- what is on the disk

    @property
    def _done_mark(self) -> str:
        return f"{self._folder.path}/{self.what}.done"


def is_folder(place: Path) -> bool:
    """Not one that is reached through a link."""
    try:
        return stat.S_ISDIR(os.lstat(place).st_mode)
    except OSError:
        return False
