"""How does a dataset get from the service to this machine? In a window of pieces, memory flat."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from agent.data_rules import NoData
from agent.data_writer import Damaged, Span, Writer, spans
from agent.to_the_end import to_the_end
from bus import subjects
from bus.connection import Bus
from bus.errors import BusError, Refused
from bus.pieces import in_row
from schemas.datasets import AskPieces, AskTree, DataKey, DataPieces, DataTreePart
from schemas.message import Message
from schemas.tree import Tree, read_tree
from schemas.worker import Grant

WINDOW = 6
"""Answers on their way at one time, each of less than a MiB."""
PIECE_SECONDS, PIECE_TRIES = 10.0, 18
"""For one of them before it is asked for again, and how often: a bus may elect a leader."""
MOST_PARTS = 1024
"""Of a packed tree, each of half a MiB at most."""

Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True, slots=True)
class Source:
    """The data of one attempt, as the service knows it."""

    bus: Bus
    worker: str
    grant: Grant
    index: int
    """Place in the job's ``data``."""

    @property
    def key(self) -> dict[str, object]:
        grant = self.grant
        named = DataKey(job=grant.job, attempt=grant.attempt, nonce=grant.nonce, index=self.index)
        return named.model_dump()

    async def tree(self) -> Tree:
        """Raises ``NoData``; what comes is the tree that the job was given, or nothing."""
        wanted = self.grant.spec.data[self.index]
        first = await self._part(0)
        if first.parts > MOST_PARTS:
            raise NoData(f"{wanted.text}: a tree in {first.parts} parts")
        parts = [first.data]
        async for part in in_row(self._part, range(1, first.parts), WINDOW):
            parts.append(part.data)
        try:
            tree = await asyncio.to_thread(read_tree, b"".join(parts))
        except ValueError as error:
            raise NoData(f"{wanted.text}: what came is no tree: {error}") from error
        if await asyncio.to_thread(lambda: tree.id) != wanted.tree:
            raise NoData(f"{wanted.text}: another tree came than the job was given")
        return tree

    async def pieces(self, tree: Tree, begin: int) -> AsyncGenerator[tuple[bytes, ...], None]:
        """All from that number on, in order. Raises ``NoData``."""
        coming = in_row(self._pieces, spans(tree, begin), WINDOW)
        async with contextlib.aclosing(coming) as answers:
            async for answer in answers:
                yield answer.data

    async def _part(self, number: int) -> DataTreePart:
        asked = AskTree.model_validate({**self.key, "part": number})
        return await self._ask("tree", asked, DataTreePart)

    async def _pieces(self, span: Span) -> DataPieces:
        asked = AskPieces.model_validate({**self.key, "first": span.first, "count": span.count})
        answer = await self._ask("pieces", asked, DataPieces)
        if len(answer.data) != span.count:
            raise NoData(f"{len(answer.data)} pieces came, and {span.count} were asked for")
        return answer

    async def _ask(self, verb: str, asked: DataKey, answer: type[Answer]) -> Answer:
        subject = subjects.request("datasets", verb, self.worker)
        try:
            return await self.bus.request(
                subject, asked, answer, timeout=PIECE_SECONDS, attempts=PIECE_TRIES, bulk=True
            )
        except Refused as error:
            raise NoData(str(error)) from error
        except BusError as error:
            wanted = self.grant.spec.data[self.index]
            raise NoData(f"fetching {wanted.text}: {error}") from error


async def fetch(source: Source, tree: Tree, folder: Path, tell: Callable[[int], None]) -> None:
    """Into ``folder/files``; what an earlier try left there is not fetched again.

    ``tell`` hears the bytes that are written. Raises ``NoData``, ``Damaged`` and ``OSError``.
    """
    files = folder / "files"
    await asyncio.to_thread(files.mkdir, parents=True, exist_ok=True)
    writer = await asyncio.to_thread(Writer, tree, files, folder / "pieces")
    try:
        async with contextlib.aclosing(source.pieces(tree, writer.next)) as answers:
            async for data in answers:
                await to_the_end(writer.add, data)
                tell(writer.written)
        await to_the_end(writer.finish)
    except Damaged as error:
        text = source.grant.spec.data[source.index].text
        raise NoData(f"{text} came damaged: {error}", damaged=True) from error
    finally:
        writer.close()
