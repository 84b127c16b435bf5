"""How does what lies in an attempt's outputs folder get into the store, one round after another?"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from agent.output_plan import Known, Limits, Plan, Rhythm, appended_to, grew, plan
from agent.output_scan import Found, Scan, opened, scan
from agent.output_window import Window
from agent.to_the_end import to_the_end
from bus import subjects
from bus.connection import UNAVAILABLE, Bus
from bus.errors import Corrupt, Refused, Unanswered
from bus.manifests import pack
from bus.outputs import cut
from schemas.message import Empty, Message
from schemas.outputs import (
    CHUNK,
    AskStored,
    Commit,
    Committed,
    Manifest,
    OutputFile,
    OutputsKey,
    PutChunks,
    Sending,
    StoredChunks,
)
from schemas.worker import Grant

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Message)

PUT_SECONDS = 20.0
"""For one message of half a MiB; a line of 200 kbit/s carries it."""
ASK_SECONDS = 5.0
COMMIT_SECONDS = 30.0
"""The service reads the manifest and looks for each chunk that it names."""
TRIES = 3
TELL_FROM = 8 << 20
"""Bytes from which on the page is told that outputs are on their way."""
LOOKED_AT, UNLIMITED = 50_000, 1_000_000
COPIES = 3
"""So often a file that changes while it is read is read again."""


class Changing(Exception):
    """The file was written to while it was read."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file."""

    digest: bytes
    data: bytes


class Sender:
    """Of one attempt. Rounds follow one another; none is begun while another one is under way."""

    prefix = ""
    """Of the verbs that the service has for what is sent."""

    def __init__(self, bus: Bus, worker: str, grant: Grant, limits: Limits, rhythm: Rhythm) -> None:
        self._bus = bus
        self._worker = worker
        self._key = OutputsKey(job=grant.job, attempt=grant.attempt, nonce=grant.nonce)
        self._limits = limits
        self._rhythm = rhythm
        self._window = Window(self._put, self._note_stored)
        self._known: dict[str, Known] = {}
        self._round = 0
        self._asked = False
        self._last: Manifest | None = None
        self.steps = 0
        """Grows whenever something was stored."""
        self.at_work = False
        """Whether it scans or reads: as long as that takes, nobody waits for an answer."""

    async def round(self, root: str, *, final: bool) -> Manifest:
        """Sends what is new and says what there is. Raises ``BusError`` and ``OSError``."""
        try:
            return await self._rounded(root, final)
        except BaseException:
            self._asked = False
            await self._window.abandon()
            raise

    async def _rounded(self, root: str, final: bool) -> Manifest:
        with self._at_work():
            found = await asyncio.to_thread(scan, root, self._named)
        still = None if final else self._rhythm.still
        planned = plan(found, self._known, self._limits, time.time(), still)
        unchanged = not planned.read and len(planned.keep) == len(self._known)
        if not final and unchanged and (self._last is not None or not planned.keep):
            return self._last or Manifest()
        await self._ask_stored()
        if final:
            await self._tell_sending(planned)
        for _ in range(TRIES):
            manifest = await self._send(root, found, planned)
            if await self._committed(manifest, final):
                self._last = manifest
                return manifest
            planned = plan(found, self._known, self._limits, time.time(), still)
        raise Corrupt("chunks of its outputs vanish as they come")

    @property
    def _named(self) -> int:
        """So many files are looked at singly: beyond a limit, to choose the smallest from."""
        return max(LOOKED_AT, 2 * self._limits.files) if self._limits.files else UNLIMITED

    async def _ask_stored(self) -> None:
        """Once: what an earlier attempt, or agent, has sent need not be sent again."""
        if self._asked:
            return
        more, page = True, 0
        while more:
            asked = AskStored(**self._key.model_dump(), page=page)
            answer = await self._request("stored", asked, StoredChunks)
            self._window.stored.update(cut(answer.digests))
            self._round = max(self._round, answer.round)
            more, page = answer.more, page + 1
        self._asked = True

    async def _tell_sending(self, planned: Plan) -> None:
        size = sum(found.size for found in planned.read)
        if size >= TELL_FROM:
            key = self._key.model_dump()
            told = Sending(**key, files=len(planned.read), size=size)
            await self._request("sending", told, Empty)

    async def _send(self, root: str, found: Scan, planned: Plan) -> Manifest:
        """All that is new is stored when it returns."""
        left_out = Scan(0, notes=list(found.notes), left_out=found.left_out)
        known = {one.found.path: one for one in planned.keep}
        for one in planned.read:
            try:
                known[one.path] = await self._file(root, one)
            except Changing:
                left_out.leave_out(one.path, "it was written to while it was read")
                if one.path in self._known:
                    known[one.path] = self._known[one.path]
            except FileNotFoundError:
                continue  # Removed since it was seen.
            except OSError as error:
                left_out.leave_out(one.path, f"cannot be read: {error.strerror}")
        await self._window.settle()
        self._known = known
        files = tuple(sorted((one.file for one in known.values()), key=lambda file: file.path))
        return Manifest(files, tuple(left_out.notes), left_out.left_out, planned.over)

    async def _file(self, root: str, found: Found) -> Known:
        for _ in range(COPIES):
            try:
                return await self._copy(root, found.path)
            except Changing:
                continue
        raise Changing

    async def _copy(self, root: str, path: str) -> Known:
        """What is sent of a copy that fails belongs to nothing, and is collected."""
        whole = hashlib.sha256()
        digests = bytearray()
        with opened(root, path) as file:
            before = Found.of(path, os.fstat(file))
            left = before.size
            while left:
                with self._at_work():
                    piece = await to_the_end(read, file, min(CHUNK, left), whole)
                if len(piece.data) < min(CHUNK, left):
                    raise Changing
                left -= len(piece.data)
                digests += piece.digest
                await self._window.add(piece.digest, piece.data)
            after = Found.of(path, os.fstat(file))
            if after != before and not (appended_to(path) and grew(before, after)):
                raise Changing
        stored = OutputFile(
            path, before.size, before.mode, before.modified, whole.digest(), bytes(digests)
        )
        return Known(before, stored)

    async def _committed(self, manifest: Manifest, final: bool) -> bool:
        """False where chunks are missing: they are read again."""
        return await self._stored_as(pack(manifest), final)

    async def _stored_as(self, data: bytes, final: bool) -> bool:
        digests = []
        for at in range(0, len(data), CHUNK):
            part = data[at : at + CHUNK]
            digests.append(hashlib.sha256(part).digest())
            await self._window.add(digests[-1], part)
        await self._window.settle()
        asked = Commit(
            **self._key.model_dump(),
            round=self._round + 1,
            chunks=b"".join(digests),
            size=len(data),
            final=final,
        )
        answer = await self._request("commit", asked, Committed, COMMIT_SECONDS)
        if not answer.missing:
            self._note_stored()
            self._round += 1
            return True
        missing = set(cut(answer.missing))
        log.warning("%s.%d: %d chunks are missing", asked.job, asked.attempt, len(missing))
        self._window.stored -= missing
        self._known = {
            path: one
            for path, one in self._known.items()
            if missing.isdisjoint(cut(one.file.chunks))
        }
        return False

    # ---- what is said

    async def _put(self, digests: list[bytes], chunks: list[bytes]) -> None:
        key = self._key.model_dump()
        put = PutChunks(**key, digests=b"".join(digests), chunks=tuple(chunks))
        subject = subjects.request("outputs", f"{self.prefix}put", self._worker)
        try:
            await self._bus.request(subject, put, Empty, timeout=PUT_SECONDS, attempts=1, bulk=True)
        except Refused as error:
            if error.problem.code != UNAVAILABLE:
                raise
            raise Unanswered(subject, PUT_SECONDS) from error

    async def _request(
        self, verb: str, message: Message, answer: type[T], timeout: float = ASK_SECONDS
    ) -> T:
        subject = subjects.request("outputs", self.prefix + verb, self._worker)
        return await self._bus.request(subject, message, answer, timeout=timeout, attempts=TRIES)

    def _note_stored(self, _: int = 0) -> None:
        self.steps += 1

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        self.at_work = True
        try:
            yield
        finally:
            self.at_work = False


def read(file: int, size: int, whole: hashlib._Hash) -> Piece:
    """The next ``size`` bytes; fewer only at the end of the file."""
    data = os.read(file, size)
    while len(data) < size and (more := os.read(file, size - len(data))):
        data += more
    whole.update(data)
    return Piece(hashlib.sha256(data).digest(), data)
