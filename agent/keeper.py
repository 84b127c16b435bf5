"""When may the folder of an ended attempt go? Once its outputs are stored and its log is sealed.

Outputs and checkpoints that the end did not wait for are sent from here. Outputs that nobody takes
move to where they stay. Until the log is sealed, one whose end the broker lost (it acknowledges
logs before they are on the disk) is sent again from the spool.

Not at once in any case: on some file systems what was removed a moment ago makes what is created
next dear, and short jobs create a lot.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.folder import AttemptFolder
from agent.last_rounds import LastRounds
from agent.output_rounds import AttemptOutputs
from agent.outputs import Outputs
from agent.ship import Shipper
from agent.surplus import DAY
from bus import subjects
from bus.connection import Bus
from bus.errors import BusError
from schemas.requests import LogEnd, LogPosition
from schemas.worker import AttemptKey

log = logging.getLogger(__name__)

LOOK_EVERY = 30.0
"""Seconds between two rounds, and at least between an attempt's end and the first question."""
SHIP_AGAIN = 60.0
"""Seconds that sending a lost end again may take; then it is tried in the next round."""
KEPT_LONGEST = 7 * DAY
"""Seconds after an attempt's end past which nobody asks for the rest of its log any more."""
KEPT_MOST = 10_000
"""Spools of ended attempts that wait at most; beyond them the oldest go."""


@dataclass(frozen=True)
class Ended:
    """An attempt whose folder is kept."""

    key: AttemptKey
    folder: AttemptFolder
    log_end: int
    outputs: AttemptOutputs | None
    checkpoints: LastRounds | None = None

    @property
    def unsettled(self) -> list[LastRounds]:
        """What is to be sent of it."""
        both = (self.outputs, self.checkpoints)
        return [rounds for rounds in both if rounds is not None and not rounds.settled]

    @property
    def checkpoint_due(self) -> bool:
        """Whether its last checkpoint lies here alone."""
        return self.checkpoints is not None and not self.checkpoints.settled

    @property
    def settled(self) -> bool:
        """Whether nothing of it is to be sent any more."""
        return not self.unsettled


class Keeper:
    """Asks the archive now and then; sleeps while there is nothing to ask for."""

    def __init__(self, bus: Bus, worker: str, outputs: Outputs) -> None:
        self._bus = bus
        self._worker = worker
        self._outputs = outputs
        self._subject = subjects.request("archive", "position", worker)
        self._waiting: OrderedDict[str, Ended] = OrderedDict()
        self._some = asyncio.Event()
        self._sending = ""
        """The attempt that is being sent: it does not become too old meanwhile."""

    def keep(
        self,
        key: AttemptKey,
        folder: AttemptFolder,
        log_end: int,
        outputs: AttemptOutputs | None = None,
        checkpoints: LastRounds | None = None,
    ) -> None:
        self._waiting[folder.name] = Ended(key, folder, log_end, outputs, checkpoints)
        self._some.set()
        if len(self._waiting) > KEPT_MOST:
            _, oldest = self._waiting.popitem(last=False)
            self._strip(oldest, drop=True)
            shutil.rmtree(oldest.folder.path, ignore_errors=True)

    @property
    def names(self) -> set[str]:
        """Of the attempts whose folders are kept."""
        return set(self._waiting)

    async def lighten(self) -> None:
        """The disk is short: leaves spools, outputs where they stay, and checkpoints not sent."""
        for ended in list(self._waiting.values()):
            await asyncio.to_thread(self._strip, ended)

    def _strip(self, ended: Ended, *, drop: bool = False) -> None:
        """What is stored elsewhere need not stay; what is not lies where outputs stay.

        A checkpoint that is not stored is nowhere else: it stays, unless it is to be dropped.
        """
        folder = ended.folder
        if ended.outputs is None or not ended.outputs.stored:
            self._outputs.keep(folder)
        remove_all((folder.job, folder.outputs))
        if ended.checkpoint_due and not drop:
            return
        if ended.checkpoint_due:
            log.warning("%s: its last checkpoint is dropped, not stored", folder.name)
        remove_all((folder.checkpoints,))

    async def run(self) -> None:
        """What is sent may take its time: a log's lost end does not wait for it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send())
            tasks.create_task(self._look_around())

    async def _look_around(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(LOOK_EVERY)
            for name in list(self._waiting):
                if not await self._look(name):
                    break
            await asyncio.to_thread(self._outputs.trim)
            if not self._waiting:
                self._some.clear()

    async def _send(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(LOOK_EVERY)
            await self._send_round()

    async def _send_round(self) -> None:
        """Of one attempt after the other. What nobody takes of one is not tried of the next."""
        blocked: set[str] = set()
        for name, ended in list(self._waiting.items()):
            if forgotten(ended.folder, time.time()):
                continue
            for rounds in ended.unsettled:
                if rounds.what not in blocked and await self._sent_again(name, rounds):
                    blocked.add(rounds.what)

    async def _sent_again(self, name: str, rounds: LastRounds) -> bool:
        """Whether nobody takes such things; what is left to be sent goes to the end of the line."""
        self._sending = name
        try:
            await rounds.again(self._outputs.root)
        finally:
            self._sending = ""
        if rounds.settled:
            log.info("%s: its %s: %s", name, rounds.what, told(rounds))
            return False
        if name in self._waiting:
            self._waiting.move_to_end(name)
        return rounds.untaken

    async def _look(self, name: str) -> bool:
        """Whether the archive answered; one that it has not sealed goes to the end of the line."""
        if name not in self._waiting:
            return True
        ended = self._waiting[name]
        old = name != self._sending and forgotten(ended.folder, time.time())
        if ended.settled or old:
            await asyncio.to_thread(self._strip, ended, drop=old)
        if ended.log_end == 0 or old:
            await self._remove(ended, old)
            return True
        key, folder, log_end = ended.key, ended.folder, ended.log_end
        asked = LogPosition(job=key.job, attempt=key.attempt, rank=0)
        try:
            stored = await self._bus.request(self._subject, asked, LogEnd, attempts=1)
        except BusError as error:
            log.info("the spool of %s stays: %s", name, error)
            return False
        if stored.sealed >= log_end:
            await self._remove(ended, old)
        elif stored.offset < log_end:
            log.warning("%s: the broker lost the end of its log; it is sent again", name)
            await self._ship_again(key, folder.path, log_end)
        if name in self._waiting:
            self._waiting.move_to_end(name)
        return True

    async def _ship_again(self, key: AttemptKey, spool: Path, log_end: int) -> None:
        shipper = Shipper(self._bus, key.job, key.attempt, self._worker, spool, resume=True)
        shipper.finish(log_end)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHIP_AGAIN):
                await shipper.run()

    async def _remove(self, ended: Ended, old: bool) -> None:
        """Not before its outputs are settled, unless that was long ago."""
        if ended.settled or old:
            self._waiting.pop(ended.folder.name, None)
            await asyncio.to_thread(remove_all, (ended.folder.path,))


def told(rounds: LastRounds) -> str:
    return "stored" if rounds.stored else "given up"


def forgotten(folder: AttemptFolder, now: float) -> bool:
    """Whether it ended so long ago that its log has to be given up."""
    try:
        return now - os.stat(folder.notes).st_mtime > KEPT_LONGEST
    except OSError:
        return False


def remove_all(paths: Iterable[Path]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
