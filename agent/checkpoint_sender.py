"""How does all that lies in a checkpoint folder get into the store, whole or not at all?

A round is taken only when nothing in the folder changed from its beginning until all was read. What
has changed is copied beside it first, where there is room: the folder has to keep still for the
copy alone, and not for as long as a slow line takes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path

from agent.checkpoint_copy import Changed, copy_files, drop_copy
from agent.disk import MEBIBYTE, free_bytes
from agent.output_plan import Known, fitting, same
from agent.output_scan import Found, Scan, scan
from agent.output_sender import TRIES, Changing, Sender
from bus.checkpoints import pack
from bus.errors import Corrupt
from bus.outputs import cut
from schemas.checkpoints import Checkpoint
from schemas.outputs import LeftOut, Manifest, OutputFile

log = logging.getLogger(__name__)

SPARE = 2048 * MEBIBYTE
"""Bytes of the disk that no copy takes: then the folder itself is read."""

SAME_TIME = 1e-5
"""Seconds by which a time differs that was stored as a float."""


class NotKept(Exception):
    """A checkpoint that can never be taken as it is; says why."""


class CheckpointSender(Sender):
    """Of one attempt. ``round`` is not for it: ``take`` is."""

    prefix = "checkpoint-"
    _found: Scan | None = None
    """What the last taken checkpoint was made of."""
    restored: Checkpoint | None = None
    """What this attempt began from: stored already, as long as nobody writes to it."""
    left_out: tuple[LeftOut, ...] = ()
    """What the last look found that cannot be kept."""

    async def take(self, root: str, copy: Path, *, final: bool) -> bool:
        """Whether the store has what lies there now. Raises ``BusError``, ``OSError``, ``NotKept``.

        An empty folder is no checkpoint: the one before stays.
        """
        try:
            return await self._taken(root, copy, final)
        except (Changed, Changing, FileNotFoundError) as error:
            log.info("%s: no checkpoint yet: %s is being written", self._key.job, error)
            return False
        except PermissionError as error:
            raise NotKept(f"{error.filename or 'a file'} cannot be read") from error
        except BaseException:
            self._asked = False
            await self._window.abandon()
            raise
        finally:
            await asyncio.to_thread(drop_copy, copy)

    async def _taken(self, root: str, copy: Path, final: bool) -> bool:
        with self._at_work():
            found = await asyncio.to_thread(scan, root, self._named, True)
        self.left_out = tuple(found.notes)
        if self.restored is not None:
            self._begin_from(self.restored, found)
        if not found.files or self._is_stored(found):
            return True
        if not final and not quiet(found, time.time(), self._rhythm.still):
            return False
        _, over = fitting(found, {}, self._limits)
        if over or found.endless:
            told = over.partition(";")[0].replace("outputs are", "checkpoint is")
            raise NotKept(told or "there are too many files to count")
        await self._ask_stored()
        for _ in range(TRIES):
            checkpoint = await self._read(root, found, None if final else copy)
            if await self._stored_as(pack(checkpoint), final):
                self._found = found
                named = (digest for one in self._known.values() for digest in cut(one.file.chunks))
                self._window.stored.intersection_update(named)
                return True
        raise Corrupt("pieces of its checkpoint vanish as they come")

    def _begin_from(self, restored: Checkpoint, found: Scan) -> None:
        """At the first look, when it belongs to the job's user: its owner is a change, too."""
        files = {file.path: file for file in restored.manifest.files}
        for one in found.files:
            file = files.get(one.path)
            if file is not None and untouched(one, file):
                self._known[one.path] = Known(one, file)
        if self._known.keys() == files.keys() and found.links == dict(restored.links):
            self._found = found
        self.restored = None

    def _is_stored(self, found: Scan) -> bool:
        before = self._found
        if before is None or before.links != found.links or len(before.files) != len(found.files):
            return False
        return all(one.path in self._known and self._same(one) for one in found.files)

    def _same(self, one: Found) -> bool:
        return same(self._known[one.path].found, one)

    async def _read(self, root: str, found: Scan, copy: Path | None) -> Checkpoint:
        """All that is new is on its way when it returns, and was read from one state."""
        old = {one.path for one in found.files if one.path in self._known and self._same(one)}
        new = [one for one in found.files if one.path not in old]
        source = root
        if copy is not None and sum(one.size for one in new) + SPARE < free_bytes(copy.parent):
            with self._at_work():
                await copy_files(root, new, copy)
            source = str(copy)
            await self._check_unchanged(root, found)
        known = {path: self._known[path] for path in old}
        for one in new:
            known[one.path] = Known(one, await self._piecewise(source, one))
        if source == root:
            await self._check_unchanged(root, found)
        await self._window.settle()
        self._known = known
        files = tuple(sorted((one.file for one in known.values()), key=lambda file: file.path))
        links = tuple(sorted((found.links or {}).items()))
        return Checkpoint(Manifest(files, tuple(found.notes), found.left_out), links)

    async def _piecewise(self, source: str, one: Found) -> OutputFile:
        file = (await self._copy(source, one.path)).file
        if file.size != one.size:
            raise Changing(one.path)
        return replace(file, mode=one.mode, modified=one.modified)

    async def _check_unchanged(self, root: str, found: Scan) -> None:
        with self._at_work():
            now = await asyncio.to_thread(scan, root, self._named, True)
        if (by_path(now), now.links) != (by_path(found), found.links):
            raise Changed("the folder")


def by_path(found: Scan) -> dict[str, Found]:
    return {one.path: one for one in found.files}


def untouched(found: Found, file: OutputFile) -> bool:
    """Whether a file is still what was restored: writing to it changes its time."""
    return found.size == file.size and abs(found.modified - file.modified) < SAME_TIME


def quiet(found: Scan, now: float, still: float) -> bool:
    """Whether nobody changed anything lately; a time in the future counts as long past."""
    return not now - still < newest(found, now) <= now


def newest(found: Scan, now: float) -> float:
    """Unix seconds of the last change of a file, in what lies before ``now``; 0 for none."""
    times = (mark / 1e9 for one in found.files for mark in one.changed[1:])
    return max((at for at in times if at <= now), default=0.0)
