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
from pathlib import Path

from agent.folder import AttemptFolder, read_if_there, write_atomic
from agent.last_rounds import KEEPER_SECONDS, LastRounds, is_folder
from agent.output_plan import Limits, Rhythm, told
from agent.output_sender import Sender
from agent.outputs import holds_files
from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import Corrupt
from schemas.job import Fact
from schemas.outputs import Manifest, OutputsEnd
from schemas.reason import Reason
from schemas.worker import Grant, Report

log = logging.getLogger(__name__)


class AttemptOutputs(LastRounds):
    """Of one attempt, from its start until they are stored or given up."""

    def __init__(
        self, bus: Bus, worker: str, grant: Grant, folder: AttemptFolder, rhythm: Rhythm
    ) -> None:
        limits = Limits(grant.outputs_size, grant.outputs_files)
        super().__init__(Sender(bus, worker, grant, limits, rhythm), folder, rhythm)
        self._manifest: Manifest | None = None
        """The last one; None until it is stored."""

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
        await self._sent(self._folder.outputs, self._rhythm.longest)
        end = end_of(self._manifest, self._problem)
        if self._manifest is not None:
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

    async def _last(self, root: str) -> None:
        self._manifest = await self._sender.round(root, final=True)

    # ---- what is on the disk

    @property
    def _begun_mark(self) -> str:
        return f"{self._folder.path}/outputs.begun"

    def _begun(self) -> bool:
        """Whether a manifest was stored: the last one has to follow, though nothing be left."""
        return os.path.exists(self._begun_mark)


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
