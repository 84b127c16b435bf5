"""What does the engine say while it builds, pulls, pushes or loads, and how is it stopped?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.runtimes.docker_engine import Body, Engine, EngineError, Link, Query, json_lines
from agent.runtimes.docker_threads import Threads
from agent.runtimes.protocol import Output
from schemas.stream import Stream


@dataclass(frozen=True, slots=True)
class Work:
    """One request whose answer comes while the engine does it."""

    path: str
    query: Query = field(default_factory=dict)
    body: Body = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """May hold a password."""


async def follow(
    engine: Engine,
    threads: Threads,
    work: Work,
    hear: Callable[[dict[str, Any]], None],
    seconds: float,
) -> None:
    """Until the engine has done it. Cancelled or out of time, the engine gives up too.

    Raises ``EngineError``.
    """
    link = engine.link(seconds)
    try:
        async with asyncio.timeout(seconds):
            messages = await threads.run(begin, link, work, abort=link.abort)
            while (batch := await threads.run(messages, abort=link.abort)) is not None:
                for message in batch:
                    if "error" in message:
                        raise EngineError(500, str(message["error"]).strip())
                    hear(message)
    except TimeoutError as error:
        detail = f"it took longer than the {seconds:g} s that it may take"
        raise EngineError(500, detail) from error
    finally:
        link.close()


def begin(link: Link, work: Work) -> Callable[[], Any]:
    """Sends the request; the answer's messages come in batches, None after the last."""
    link.send_request("POST", work.path, work.query, work.body, work.headers)
    batches = json_lines(link.answer())
    return lambda: next(batches, None)


def plain(message: Mapping[str, Any]) -> str:
    """What a person wants to see of a message: no progress bars, no ids."""
    if "stream" in message:
        return str(message["stream"])
    if "status" in message and not message.get("progressDetail"):
        name = f"{message['id']}: " if message.get("id") else ""
        return f"{name}{message['status']}\n"
    return ""


def write(output: Output, text: str) -> None:
    if text:
        output(Stream.BUILD, text.encode())
