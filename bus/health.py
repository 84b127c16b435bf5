"""Which streams do not store, although the server answers?

A stream that met a full disk answers no write until its server restarts, and says so to nobody. But
it refuses to purge, also where there is nothing to purge: that can be asked without a trace.
"""

from __future__ import annotations

import asyncio
import logging

from bus.connection import Bus, JetStreamError
from bus.errors import BusError
from bus.layout import STREAMS, Stream
from bus.room import BOUND

log = logging.getLogger(__name__)

NOBODY = "nobody"
"""A token that no subject of ours has at its place."""
LOOK_EVERY = 60.0
"""Seconds."""
CURE = "free some space on its disk, then restart nats-server"


async def broken(bus: Bus, stream: Stream) -> str:
    """What the server says is wrong with it; empty where it works, or is not known.

    Where the server does not answer at all there is nothing to say of the stream.
    """
    subject = stream.subjects[0].removesuffix(">") + NOBODY
    try:
        await bus.api(f"STREAM.PURGE.{stream.name}", {"filter": subject})
    except JetStreamError as error:
        text = str(error)
        return text if "space" in text or "quota" in text or ".blk" in text else ""
    except BusError:
        return ""
    return ""


async def broken_streams(bus: Bus) -> dict[str, str]:
    """Those of our own that do not store, and what the server says of them.

    One that takes no purge, from nobody, cannot be asked.
    """
    asked = [stream for stream in STREAMS if not stream.frozen]
    told = await asyncio.gather(*(broken(bus, stream) for stream in asked))
    return {stream.name: text for stream, text in zip(asked, told, strict=True) if text}


async def closed_streams(bus: Bus) -> list[str]:
    """Those that take nothing more for now, because the disk is nearly full."""
    names = []
    for stream in STREAMS:
        info = await bus.api(f"STREAM.INFO.{stream.name}")
        if BOUND in (info["config"].get("metadata") or {}):
            names.append(stream.name)
    return names


async def watch_streams(bus: Bus, every: float = LOOK_EVERY) -> None:
    """For ever; tells aloud of streams that do not store."""
    while True:
        await asyncio.sleep(every)
        try:
            for name, text in (await broken_streams(bus)).items():
                log.error("%s stores nothing any more (%s): %s", name, text, CURE)
        except Exception:
            log.exception("the streams cannot be looked at")
