"""When are an attempt's outputs sent, and how long does its end wait for them?

While the program runs, what has been still for a while goes out now and then, so that a machine
that dies leaves it behind. After the program's end everything does. The end waits as long as
something gets through, and no longer: the keeper goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import time
from pathlib import Path

from agent.folder import AttemptFolder, read_if_there, write_atomic
from agent.output_plan import Limits, Rhythm, told
from agent.output_sender import Sender
from agent.outputs import holds_files
from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import BusError, Corrupt, Refused
from schemas.job import Fact
from schemas.outputs import Manifest, OutputsEnd
from schemas.reason import Reason
from schemas.worker import Grant, Report

log = logging.getLogger(__name__)

ROUND_SHARE = 10
"""A look while the program runs is followed by so many times its own length without one."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two tries of the last round."""
FOR_GOOD = frozenset({"not_granted", "outputs_too_large", "bad_chunk"})
"""Refusals that no repetition changes."""
LOOK_EVERY = 0.5
KEEPER_SECONDS = 600.0
"""How long the keeper goes on with one attempt at a time, while something gets through."""


class AttemptOutputs:
    """Of one attempt, from its start until they are stored or given up."""

    def __init__(
        self, bus: Bus, worker: str, grant: Grant, folder: AttemptFolder, rhythm: Rhythm
    ) -> None:
        limits = Limits(grant.outputs_size, grant.outputs_files)
        self._sender = Sender(bus, worker, grant, limits, rhythm)
        self._folder = folder
        self._rhythm = rhythm
        self._over = asyncio.Event()
        self._round = asyncio.Lock()
        self.hurry = asyncio.Event()
        """Set where the end should not wait any more: the job is being cancelled."""
        self.stored = self.settled = False
        """Whether everything is stored; whether there is nothing more to be done."""
        self._problem = ""

    # ---- while the program runs

    async def while_running(self) -> None:
        """Until ``at_end`` is called; what goes wrong is tried again."""
        while not self._over.is_set():
            begun = time.monotonic()
            try:
                await self._look()
            except (BusError, OSError) as error:
                log.info("%s: its outputs wait: %s", self._folder.name, error)
            except Exception:
                log.exception("the outputs of %s", self._folder.name)
            pause = max(self._rhythm.every, ROUND_SHARE * (time.monotonic() - begun))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._over.wait()

    async def _look(self) -> None:
        folder = self._folder.outputs
        if not is_folder(folder) or not (self._begun() or holds_files(folder)):
            return
        async with self._round:
            await self._sender.round(str(folder), final=False)
        if not self._begun():
            await asyncio.to_thread(write_atomic, self._begun_mark, b"")

    # ---- after its end

    async def at_end(self) -> OutputsEnd | None:
        """What became of them; None where there are none."""
        self._over.set()
        before = read_if_there(self._done_mark)
        if before is not None:
            self.stored = self.settled = True
            with contextlib.suppress(Corrupt):
                return decode(OutputsEnd, before, None)
        if not self._anything(self._folder.outputs):
            return None
        manifest = await self._sent(self._folder.outputs, self._rhythm.longest)
        end = end_of(manifest, self._problem)
        if manifest is not None:
            with contextlib.suppress(OSError):  # Without it, they are sent once more.
                await asyncio.to_thread(write_atomic, self._done_mark, encode(end)[0])
        return end

    def _anything(self, folder: Path) -> bool:
        """Whether a last manifest is due. One of a folder that is gone would lose what is stored.

        A folder that was moved is the keeper's to find.
        """
        if not is_folder(folder):
            return False
        self.settled = not holds_files(folder) and not self._begun()
        return not self.settled

    async def again(self, shelf: Path) -> None:
        """Once more, by the keeper: from where they lie now. What is nowhere is given up."""
        self.hurry.clear()
        try:
            for place in (self._folder.outputs, shelf / self._folder.name):
                if self._anything(place):
                    await self._sent(place, KEEPER_SECONDS)
                    return
            self.settled = True
        except Exception:
            log.exception("the outputs of %s", self._folder.name)
            self.settled = True

    async def _sent(self, place: Path, longest: float) -> Manifest | None:
        """None where that is given up, for now or for good."""
        sending = asyncio.ensure_future(self._last_round(str(place)))
        waiting = asyncio.ensure_future(self._patience(longest))
        try:
            await asyncio.wait((sending, waiting), return_when=asyncio.FIRST_COMPLETED)
            return sending.result() if sending.done() else None
        finally:
            for task in (sending, waiting):
                task.cancel()
            await asyncio.gather(sending, waiting, return_exceptions=True)

    async def _last_round(self, root: str) -> Manifest | None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._round:
                    manifest = await self._sender.round(root, final=True)
                self.stored = self.settled = True
                return manifest
            except Refused as error:
                self._problem = str(error)
                if error.problem.code in FOR_GOOD:
                    log.warning("%s: its outputs are refused: %s", self._folder.name, error)
                    self.settled = True
                    return None
            except (BusError, OSError) as error:
                self._problem = str(error)
            log.info("%s: its outputs wait: %s", self._folder.name, self._problem)
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
    def _begun_mark(self) -> str:
        return f"{self._folder.path}/outputs.begun"

    @property
    def _done_mark(self) -> str:
        return f"{self._folder.path}/outputs.done"

    def _begun(self) -> bool:
        """Whether a manifest was stored: the last one has to follow, though nothing be left."""
        return os.path.exists(self._begun_mark)


def is_folder(place: Path) -> bool:
    """Not one that is reached through a link."""
    try:
        return stat.S_ISDIR(os.lstat(place).st_mode)
    except OSError:
        return False


def end_of(manifest: Manifest | None, problem: str) -> OutputsEnd:
    if manifest is None:
        detail = f"its outputs are not stored yet ({problem}); its worker goes on sending them"
        return OutputsEnd(stored=False, detail=detail)
    count, size = len(manifest.files), manifest.size
    detail = f"{count} file{'' if count == 1 else 's'} of outputs, {told(size)}"
    if manifest.left_out:
        detail += f"; {manifest.left_out} left out"
    return OutputsEnd(
        files=count,
        size=size,
        left_out=manifest.left_out,
        over=manifest.over,
        detail=detail,
    )


def with_outputs(report: Report, outputs: OutputsEnd | None) -> Report:
    """A program that succeeded and wrote too much has failed; one that failed, by itself. Pure."""
    if outputs is None or report.end is None:
        return report
    end = report.end.model_copy(update={"outputs": outputs})
    if outputs.over and end.succeeded:
        too_large = {"reason": Reason.OUTPUTS_TOO_LARGE, "detail": outputs.over}
        end = end.model_copy(update=too_large)
        return report.model_copy(update={"end": end, "fact": Fact.FAILED})
    return report.model_copy(update={"end": end})
