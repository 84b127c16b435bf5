"""How is a body of bytes read: in constant memory, no longer than it may be, and not for ever?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from ui.problems import refuse

STALL_SECONDS = 60.0
"""A body of which nothing comes for this long is given up."""
READ_BYTES = 512 * 1024


async def body_parts(request: web.Request, most: int) -> AsyncIterator[bytes]:
    """As they come. Raises a problem for a body that is too long, stalls, or ends too early."""
    if (request.content_length or 0) > most:
        raise too_long(most)
    size = 0
    while part := await next_part(request):
        size += len(part)
        if size > most:
            raise too_long(most)
        yield part


async def next_part(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(STALL_SECONDS):
            return await request.content.read(READ_BYTES)
    except TimeoutError:
        raise refuse(408, "stalled", "The upload stalled", "No bytes came; try again.") from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise refuse(
            400,
            "cut_off",
            "The body is not as long as it says",
            "It ended before its Content-Length; send it again.",
        ) from error


def too_long(most: int) -> Exception:
    return refuse(
        413, "body_too_large", "The body is too large", f"At most {most} bytes in one request."
    )
