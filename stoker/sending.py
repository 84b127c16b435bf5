"""How do pieces get to the server: only what it has not, and on from where it was cut?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.answers import Refused, Unreachable
from stoker.cutting import PIECE, Cut, cut_bytes
from stoker.transport import PART_TRIES, TRIES, Transport

ASKED_AT_ONCE = 4096
BODY_BYTES = 8 << 20
AT_ONCE = 3
"""Bodies on their way: of each there is a copy in memory."""
SMALL = 256 << 10
"""A bundle that is sent without asking what of it is there."""
ROUNDS = 3
MISSING = "pieces_missing"
"""Some were collected between two questions."""

Tell = Callable[[int, int], None]
"""Bytes that were sent so far, and bytes that have to be sent."""


@dataclass(frozen=True, slots=True)
class Source:
    """A piece, and how its bytes are had."""

    digest: bytes
    size: int
    read: Callable[[], bytes]


class Sender:
    """Of one folder that was cut."""

    def __init__(self, transport: Transport, cut: Cut, tell: Tell | None = None) -> None:
        self._transport = transport
        self._cut = cut
        self._tell = tell or (lambda sent, total: None)
        self._packed = cut.pack()
        self._parts = [(hashlib.sha256(part).digest(), part) for part in cut_bytes(self._packed)]
        self.sent = 0
        """Bytes."""

    @property
    def tree(self) -> dict[str, Any]:
        """As a submission names it."""
        chunks = b"".join(digest for digest, _ in self._parts)
        return {"chunks": chunks.hex(), "size": len(self._packed)}

    def submit(self, path: str, value: Mapping[str, Any], key: str) -> Any:
        """Sends what is missing and then posts ``value`` with the tree to ``path``.

        Raises ``PackingError`` where the folder changes meanwhile, ``Refused`` and ``Unreachable``.
        """
        try:
            return self._submitted(path, {**value, "tree": self.tree}, key)
        except Unreachable as error:
            if not self.sent:
                raise
            raise Unreachable(
                f"{error}; submit again: what was sent need not be sent again"
            ) from error

    def _submitted(self, path: str, value: Mapping[str, Any], key: str) -> Any:
        for left in reversed(range(ROUNDS)):
            self.send()
            try:
                tries = PART_TRIES if self.sent else TRIES
                return self._transport.post(path, value, key, tries=tries)
            except Refused as refused:
                if refused.code != MISSING or not left:
                    raise
        raise AssertionError("unreachable")

    def send(self) -> None:
        """All that the server has not is there when it returns."""
        missing = list(self._missing())
        total = sum(source.size for source in missing)
        self._tell(self.sent, self.sent + total)
        begun = self.sent
        with ThreadPoolExecutor(AT_ONCE) as pool:
            flying: set[Future[int]] = set()
            try:
                for body in bodies(missing):
                    while len(flying) >= AT_ONCE:
                        flying = self._landed(flying, begun + total)
                    flying.add(pool.submit(self._put, body))
                while flying:
                    flying = self._landed(flying, begun + total)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _landed(self, flying: set[Future[int]], total: int) -> set[Future[int]]:
        done, left = wait(flying, return_when=FIRST_COMPLETED)
        for one in done:
            self.sent += one.result()
            self._tell(self.sent, total)
        return left

    def _put(self, body: Sequence[Source]) -> int:
        parts = []
        for source in body:
            parts += [PIECE.pack(source.digest, source.size), source.read()]
        self._transport.put_bytes("/api/v1/chunks", b"".join(parts))
        return sum(source.size for source in body)

    def _missing(self) -> Iterator[Source]:
        """In the order of the files, each once."""
        sources = {source.digest: source for source in self._sources()}
        if self._cut.size + len(self._packed) <= SMALL:
            yield from sources.values()
            return
        digests = list(sources)
        for start in range(0, len(digests), ASKED_AT_ONCE):
            asked = b"".join(digests[start : start + ASKED_AT_ONCE])
            value = {"digests": asked.hex(), "size": 0 if start else self._cut.size}
            answer = self._transport.post("/api/v1/chunks/missing", value)
            missing = bytes.fromhex(answer["missing"])
            yield from (sources[missing[at : at + 32]] for at in range(0, len(missing), 32))

    def _sources(self) -> Iterator[Source]:
        at = 0
        for digest, size in self._cut.each_piece():
            yield Source(digest, size, reader(self._cut, at, size, digest))
            at += size
        for digest, part in self._parts:
            yield Source(digest, len(part), held(part))


def reader(cut: Cut, at: int, size: int, digest: bytes) -> Callable[[], bytes]:
    return lambda: cut.read(at, size, digest)


def held(part: bytes) -> Callable[[], bytes]:
    return lambda: part


def bodies(sources: Sequence[Source]) -> Iterator[list[Source]]:
    body: list[Source] = []
    size = 0
    for source in sources:
        if body and size + source.size > BODY_BYTES:
            yield body
            body, size = [], 0
        body.append(source)
        size += source.size + PIECE.size
    if body:
        yield body


def send_parts(
    transport: Transport, zipped: Path, progress: Callable[[int], None]
) -> dict[str, Any]:
    """Sends a .zip in parts, those that are not there yet; what a submission says of it.

    The same file, sent again within a day, goes on where it stopped.
    """
    status = zipped.stat()
    marks = f"{zipped.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}"
    upload = hashlib.sha256(marks.encode(errors="surrogateescape")).hexdigest()[:32]
    state = transport.get(f"/api/v1/uploads/{upload}")
    size, number = int(state["part_bytes"]), int(state["parts"])
    with zipped.open("rb") as file:
        file.seek(number * size)
        while part := file.read(size):
            progress(number * size)
            transport.put_bytes(f"/api/v1/uploads/{upload}/{number}", part)
            number += 1
    progress(status.st_size)
    return {"upload": upload, "parts": max(1, number)}
