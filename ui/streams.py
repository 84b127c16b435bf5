"""How is a reader left in the middle without leaving its consumer behind?"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


@asynccontextmanager
async def reading(source: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Closes the source at once, not whenever the garbage collector comes by."""
    try:
        yield source
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
