"""When is an attempt's checkpoint taken, and what of it is whole after the program's end?

A program that ended by itself had its say. One that was killed may have been in the middle of a
file: what it wrote in its last seconds is not taken, and the checkpoint before stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.checkpoint_restore import Restorer
from agent.checkpoint_sender import CheckpointSender, NotKept, newest
from agent.folder import AttemptFolder, read_if_there, write_atomic
from agent.last_rounds import KEEPER_SECONDS, LastRounds, is_folder
from agent.output_plan import Limits, Rhythm
from agent.output_scan import scan
from agent.outputs import holds_files
from agent.runtimes.protocol import Output
from bus.connection import Bus
from schemas.job import AttemptEnd
from schemas.reason import Reason
from schemas.worker import Grant, Report

log = logging.getLogger(__name__)

OFTEN = 10.0
"""Seconds between two looks while the program runs, at most."""
RESTLESS = 600.0
"""Seconds of changes without a checkpoint after which the job is told."""
LOOKED_AT = 50_000

Say = Callable[[str], None]
"""Puts a line of Stoker's own into the log of the program that runs."""


class AttemptCheckpoints(LastRounds):
    """Of one attempt: what it begins from, and what it leaves."""

    what = "checkpoint"

    def __init__(
        self, bus: Bus, worker: str, grant: Grant, folder: AttemptFolder, rhythm: Rhythm, say: Say
    ) -> None:
        rhythm = replace(rhythm, every=min(rhythm.every, OFTEN))
        limits = Limits(grant.outputs_size, grant.outputs_files)
        self._taker = CheckpointSender(bus, worker, grant, limits, rhythm)
        super().__init__(self._taker, folder, rhythm)
        self._restorer = Restorer(bus, worker, grant, folder.checkpoints)
        self._copy = folder.path / "checkpoint.copy"
        self._say = say
        self._said: set[str] = set()
        self._restless_since: float | None = None

    async def restored(self, output: Output) -> bool:
        """Whether there is something to go on from, as it was. Raises ``CannotPrepare``."""
        checkpoint = await self._restorer.restore(output)
        self._taker.restored = checkpoint
        return checkpoint is not None

    # ---- while the program runs

    async def _look(self) -> None:
        root = self._folder.checkpoints
        if not is_folder(root) or not holds_files(root):
            return
        async with self._round:
            try:
                taken = await self._taker.take(str(root), self._copy, final=False)
            except NotKept as error:
                self._once(f"no checkpoint is kept: {error}")
                return
        for note in self._taker.left_out:
            self._once(f"{note.path} is no part of the checkpoint: {note.why}")
        self._watch_rest(taken)

    def _watch_rest(self, taken: bool) -> None:
        if taken:
            self._restless_since = None
        elif self._restless_since is None:
            self._restless_since = time.monotonic()
        elif time.monotonic() - self._restless_since > RESTLESS:
            self._once("no checkpoint could be taken: the folder never keeps still")

    def _once(self, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            self._say(words)

    # ---- after its end

    async def at_end(self, report: Report) -> None:
        """Until it is stored, or the end need not wait any longer. A defect costs nobody an end."""
        self._over.set()
        try:
            await self._kept(report)
        except Exception:
            log.exception("the checkpoint of %s", self._folder.name)
            self.settled = True

    async def _kept(self, report: Report) -> None:
        self.stored = read_if_there(self._done_mark) is not None
        self.settled = self.stored or not await self._worth(report)
        if self.settled:
            return
        await self._sent(self._folder.checkpoints, self._rhythm.longest)
        if self.stored:
            with contextlib.suppress(OSError):  # Without it, it is looked at once more.
                await asyncio.to_thread(write_atomic, self._done_mark, b"")

    async def _worth(self, report: Report) -> bool:
        root = self._folder.checkpoints
        if report.end is None or report.started_at is None or not is_folder(root):
            return False
        if not await asyncio.to_thread(holds_files, root):
            return False
        if had_its_say(report.end):
            return True
        found = await asyncio.to_thread(scan, str(root), LOOKED_AT, True)
        return newest(found, time.time()) < report.at - self._rhythm.still

    async def again(self, shelf: Path) -> None:
        self.hurry.clear()
        try:
            if is_folder(self._folder.checkpoints):
                await self._sent(self._folder.checkpoints, KEEPER_SECONDS)
            else:
                self.settled = True
        except Exception:
            log.exception("the checkpoint of %s", self._folder.name)
            self.settled = True

    async def _last(self, root: str) -> None:
        try:
            if not await self._taker.take(root, self._copy, final=True):
                raise OSError("it was written to while it was read")
        except NotKept as error:
            log.warning("%s: its checkpoint is not kept: %s", self._folder.name, error)


def had_its_say(end: AttemptEnd) -> bool:
    """Whether the program came to its own end, and not for want of room. Pure."""
    return end.exit_code is not None and end.reason is not Reason.DISK_FULL
