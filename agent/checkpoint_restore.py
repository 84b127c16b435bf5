"""What does an attempt begin from? The job's last checkpoint, before its program starts.

The first attempt of a job that resumes no other asks nobody. Where there is a checkpoint that
cannot be had, the attempt ends: to begin anew without a word costs more than to wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TypeVar

from agent.checkpoint_sender import SPARE
from agent.disk import free_bytes
from agent.output_plan import told
from agent.runtimes.protocol import CannotPrepare, Output
from agent.to_the_end import to_the_end
from bus import subjects
from bus.checkpoints import unpack
from bus.connection import Bus
from bus.errors import BusError, Corrupt, NotFound, Refused
from bus.outputs import cut
from bus.pieces import in_row
from schemas.checkpoints import AskLast, Checkpoint, GetPiece, GotPiece, LastCheckpoint
from schemas.message import Message
from schemas.outputs import OutputFile, OutputsHead, OutputsKey
from schemas.reason import Reason
from schemas.stream import Stream
from schemas.worker import Grant

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Message)

PATIENCE = 60.0
"""Seconds without an answer after which it is given up; the attempt is tried again elsewhere."""
ASK_SECONDS, GET_SECONDS = 5.0, 20.0
AGAIN = 1.0
TELL_EVERY = 5.0
"""Seconds between two lines of progress."""
TRIES = 3
"""A checkpoint may be replaced while it is read."""
WINDOW = 12
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Damaged(Exception):
    """What came is not what its digest says."""


class Restorer:
    """Of one attempt."""

    def __init__(self, bus: Bus, worker: str, grant: Grant, folder: Path) -> None:
        self._bus = bus
        self._worker = worker
        self._grant = grant
        self._key = OutputsKey(job=grant.job, attempt=grant.attempt, nonce=grant.nonce)
        self._folder = folder

    async def restore(self, output: Output) -> Checkpoint | None:
        """None where there is none. What lay there before is gone. Raises ``CannotPrepare``."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o755, exist_ok=True)
        if self._grant.attempt == 1 and self._grant.spec.resume is None:
            return None
        problem = ""
        for _ in range(TRIES):
            try:
                return await self._restored(output)
            except (NotFound, Corrupt, Damaged) as error:
                problem = str(error)
                log.warning("%s: its checkpoint: %s", self._grant.job, error)
            except Refused as error:
                raise unavailable(str(error)) from error
            except BusError as error:
                raise unavailable(f"nobody gives it: {error}") from error
        raise unavailable(problem)

    async def _restored(self, output: Output) -> Checkpoint | None:
        asked = AskLast(**self._key.model_dump())
        head = (await self._answer("last", asked, LastCheckpoint, ASK_SECONDS)).head
        if head is None:
            if resumed := self._grant.spec.resume:
                raise unavailable(f"job {resumed} has none any more")
            say(output, "no checkpoint yet: it begins anew")
            return None
        packed = b"".join([piece async for piece in self._pieces(head.job, head.chunks)])
        if len(packed) != head.size:
            raise Damaged(f"it has {len(packed)} bytes instead of {head.size}")
        checkpoint = unpack(packed)
        self._check_room(checkpoint)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o755, exist_ok=True)
        await self._fill(checkpoint, head, output)
        return checkpoint

    def _check_room(self, checkpoint: Checkpoint) -> None:
        free = free_bytes(self._folder)
        if checkpoint.manifest.size + SPARE // 8 > free:
            raise CannotPrepare(
                f"its checkpoint of {told(checkpoint.manifest.size)} does not fit: {told(free)} of"
                " the worker's disk are free",
                Reason.DISK_FULL,
            )

    async def _fill(self, checkpoint: Checkpoint, head: OutputsHead, output: Output) -> None:
        size, done, told_at = checkpoint.manifest.size, 0, time.monotonic()
        origin = f"attempt {head.attempt}"
        if head.job != self._grant.job:
            origin += f" of job {head.job}"
        files = checkpoint.manifest.files
        row = self._pieces(head.job, b"".join(file.chunks for file in files))
        async with contextlib.aclosing(row) as pieces:
            for file in files:
                async for written in self._write(file, pieces):
                    done += written
                    if time.monotonic() - told_at > TELL_EVERY:
                        told_at = time.monotonic()
                        say(output, f"checkpoint of {origin}: {told(done)} of {told(size)}")
        for path, target in checkpoint.links:
            self._place(path).symlink_to(target)
        many = "1 file" if len(files) == 1 else f"{len(files)} files"
        say(output, f"restored the checkpoint of {origin}: {many}, {told(size)}")

    async def _write(
        self, file: OutputFile, pieces: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[int, None]:
        whole, place = hashlib.sha256(), self._place(file.path)
        descriptor = os.open(place, NEW, 0o600)
        try:
            for _ in range(file.count):
                data = await anext(pieces)
                await to_the_end(write_out, descriptor, data, whole)
                yield len(data)
            os.fchmod(descriptor, file.mode)
            at = int(file.modified * 1e9)
            os.utime(descriptor, ns=(at, at))
        finally:
            os.close(descriptor)
        if whole.digest() != file.digest:
            raise Damaged(f"{file.path} is not what was stored")

    def _place(self, path: str) -> Path:
        """Inside in any case: ``unpack`` lets no other path pass, and no link lies there yet."""
        place = self._folder / path
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        return place

    def _pieces(self, source: str, digests: bytes) -> AsyncGenerator[bytes, None]:
        async def get(digest: bytes) -> bytes:
            asked = GetPiece(**self._key.model_dump(), source=source, digest=digest)
            data = (await self._answer("get", asked, GotPiece, GET_SECONDS)).data
            if hashlib.sha256(data).digest() != digest:
                raise Damaged("a piece of it was damaged on its way")
            return data

        return in_row(get, cut(digests), WINDOW)

    async def _answer(self, verb: str, asked: Message, answer: type[T], timeout: float) -> T:
        """Patient: the service may be restarted. Raises ``NotFound``, ``Refused``, ``BusError``."""
        subject = subjects.request("outputs", f"checkpoint-{verb}", self._worker)
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                return await self._bus.request(subject, asked, answer, timeout=timeout, attempts=3)
            except Refused as error:
                if error.problem.code == "not_found":
                    raise NotFound(error.problem.detail) from error
                if error.problem.status < 500 or time.monotonic() > give_up:
                    raise
            except BusError:
                if time.monotonic() > give_up:
                    raise
            await asyncio.sleep(AGAIN)


def write_out(descriptor: int, data: bytes, whole: hashlib._Hash) -> None:
    whole.update(data)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def unavailable(why: str) -> CannotPrepare:
    return CannotPrepare(f"its checkpoint cannot be had: {why}", Reason.DATA_UNAVAILABLE)


def say(output: Output, words: str) -> None:
    output(Stream.STOKER, f"[stoker] {words}\n".encode())
