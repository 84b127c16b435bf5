"""How do the pieces of bundles and data get into the store?

First the sender asks which are missing, then it sends those, many in one body; both may be repeated
at any time. A piece is checked before it is stored, and lies in the scope of who sent it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from bus.errors import Corrupt
from schemas.requests import Admit, Admitted
from schemas.tree import PIECE, PIECE_BYTES, cut, scope_of
from ui.admission import who
from ui.api.bodies import body_parts
from ui.api.common import ask, json_answer, json_body
from ui.api.submitting import beyond_quota, upload_slot
from ui.keys import CHUNKS, SENT
from ui.problems import HttpProblem, refuse
from ui.views import MissingPieces, PiecesAsked, StoredPieces

BODY_BYTES = 32 << 20
ASKED_AT_ONCE = 4096
"""Digests in one question: their hexadecimal digits fit into a JSON body."""
FLYING = 8
"""Pieces on their way to the store at one time, of one request."""
DAY = 86_400.0
OWNERS = 10_000


@dataclass
class Account:
    """What one owner sent since the last submission."""

    since: float
    size: int = 0


class SentPieces:
    """New bytes of those who have a limit: what was sent and never submitted counts for a day.

    Of one ui process, and forgotten with it; the sweep takes the pieces.
    """

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, Account] = OrderedDict()

    def add(self, owner: str, size: int, most: int | None) -> None:
        """Raises a problem where it is more than one upload may have."""
        if most is None:
            return
        account = self._accounts.setdefault(owner, Account(time.monotonic()))
        if time.monotonic() - account.since > DAY:
            account = self._accounts[owner] = Account(time.monotonic())
        if account.size + size > most:
            raise beyond_quota(most)
        account.size += size
        while len(self._accounts) > OWNERS:
            self._accounts.popitem(last=False)

    def submitted(self, owner: str) -> None:
        self._accounts.pop(owner, None)


async def missing_pieces(request: web.Request) -> web.Response:
    """``{"digests": "…", "size": bytes of the whole}``; what a quota would refuse is told here."""
    asked = PiecesAsked.model_validate(await json_body(request))
    digests = cut(bytes.fromhex(asked.digests))
    if len(digests) > ASKED_AT_ONCE:
        raise refuse(
            413,
            "too_many_digests",
            "These are too many digests",
            f"Ask for at most {ASKED_AT_ONCE} at one time.",
        )
    owner = who(request).name
    if asked.size:
        await most_of(request, asked.size)
    missing = await request.app[CHUNKS].missing(scope_of(owner), digests)
    return json_answer(MissingPieces(missing=b"".join(missing).hex()))


async def most_of(request: web.Request, size: int) -> int | None:
    """Bytes that one upload of theirs may have. Raises a problem where ``size`` is more."""
    question = Admit(owner=who(request).name, key="", size=size)
    return (await ask(request.app, "upload", "admit", question, Admitted)).most


async def put_pieces(request: web.Request) -> web.Response:
    """Each piece: its sha256 (32 bytes), its length (4, big-endian), and its bytes."""
    owner = who(request).name
    async with upload_slot(request.app):
        most = await most_of(request, 0)
        number = 0
        async with Window(request.app, owner, most) as window:
            async for digest, data in read_frames(body_parts(request, BODY_BYTES)):
                await window.add(number, digest, data)
                number += 1
            new = await window.settle()
    return json_answer(StoredPieces(stored=number, new=new))


class Window:
    """Pieces on their way to the store."""

    def __init__(self, app: web.Application, owner: str, most: int | None) -> None:
        self._app = app
        self._owner = owner
        self._most = most
        self._scope = scope_of(owner)
        self._flying: list[asyncio.Task[bool]] = []
        self._new = 0

    async def __aenter__(self) -> Window:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """What came whole is stored, though the rest was cut off or refused."""
        if kind is asyncio.CancelledError:
            for task in self._flying:
                task.cancel()
        await asyncio.gather(*self._flying, return_exceptions=True)

    async def add(self, number: int, digest: bytes, data: bytes) -> None:
        if len(self._flying) >= FLYING:
            self._new += await self._flying.pop(0)
        put = self._put(number, digest, data)
        self._flying.append(asyncio.get_running_loop().create_task(put))

    async def settle(self) -> int:
        """How many were new."""
        while self._flying:
            self._new += await self._flying.pop(0)
        return self._new

    async def _put(self, number: int, digest: bytes, data: bytes) -> bool:
        self._app[SENT].add(self._owner, len(data), self._most)
        try:
            return await self._app[CHUNKS].put(self._scope, digest, data)
        except Corrupt as error:
            raise bad_piece(f"Piece {number} of the body: {error}.") from error


async def read_frames(parts: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bytes]]:
    """Digest and bytes of each piece. Raises a problem for what is none."""
    buffer = bytearray()
    async for part in parts:
        buffer += part
        while len(buffer) >= PIECE.size:
            digest, size = PIECE.unpack_from(buffer)
            if not 0 < size <= PIECE_BYTES:
                raise bad_piece(f"A piece of {size} bytes; 1 to {PIECE_BYTES} are allowed.")
            if len(buffer) < PIECE.size + size:
                break
            yield digest, bytes(buffer[PIECE.size : PIECE.size + size])
            del buffer[: PIECE.size + size]
    if buffer:
        raise bad_piece("The body ends in the middle of a piece.")


def bad_piece(detail: str) -> HttpProblem:
    return refuse(422, "bad_piece", "A piece is not what it says", detail)
