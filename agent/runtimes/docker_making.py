"""Who on this machine makes an image, and what do those hear who wait for it?"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from agent.runtimes.protocol import CannotPrepare, Output
from schemas.reason import Kind
from schemas.stream import Stream


@dataclass(eq=False)
class Making:
    """Of one image."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: list[Output] = field(default_factory=list)
    failures: int = 0
    error: CannotPrepare | None = None
    """The last failure that is the bundle's own: that of all who waited for it."""

    def heard_by_all(self, output: Output) -> Output:
        def tell(stream: Stream, data: bytes) -> None:
            output(stream, data)
            if stream is Stream.BUILD:
                for other in self.waiting:
                    other(stream, data)

        return tell


class Makings:
    """One at a time for each name."""

    def __init__(self) -> None:
        self._makings: weakref.WeakValueDictionary[str, Making] = weakref.WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def alone(self, name: str, output: Output) -> AsyncIterator[Output]:
        """Its turn, and where what is built is to be printed.

        Raises ``CannotPrepare`` where one failed for which it waited; after a failure that is not
        the bundle's own, the next one tries.
        """
        making = self._makings.setdefault(name, Making())
        before = making.failures
        if making.lock.locked():
            words = f"[stoker] another job makes {name} already: waiting for it\n"
            output(Stream.STOKER, words.encode())
        making.waiting.append(output)
        try:
            await making.lock.acquire()
        finally:
            making.waiting.remove(output)
        try:
            if making.failures > before and making.error is not None:
                raise CannotPrepare(str(making.error), making.error.reason)
            with noted(making):
                yield making.heard_by_all(output)
        finally:
            making.lock.release()


@contextlib.contextmanager
def noted(making: Making) -> Iterator[None]:
    try:
        yield
    except CannotPrepare as error:
        if error.reason.kind is Kind.USER:
            making.failures += 1
            making.error = error
        raise
