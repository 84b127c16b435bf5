"""What helps where the leader of a stream has lost count?

After a network cut, a leader of nats-server 2.15 may give out other sequences than it counts. It
then takes a write that expects something of its subject for one that is under way for ever, and
refuses the next one to that subject. A new leader counts afresh.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from bus.errors import BusError

log = logging.getLogger(__name__)

Api = Callable[..., Awaitable[dict[str, Any]]]


async def replace_leader(api: Api, subject: str) -> None:
    """Of the subject's stream, and of all streams that the same server leads. Best effort.

    Nothing happens where there is one server, or the right to ask for it is missing.
    """
    with contextlib.suppress(BusError):
        stuck = await stream_names(api, {"subject": subject})
        leaders = {name: await leader(api, name) for name in await stream_names(api, {})}
        theirs = {leaders.get(name) for name in stuck} - {""}
        for name, server in leaders.items():
            if server in theirs:
                log.warning("%s is stuck at %s: another server is to lead it", name, server)
                with contextlib.suppress(BusError):
                    await api(f"STREAM.LEADER.STEPDOWN.{name}")


async def stream_names(api: Api, asked: dict[str, str]) -> list[str]:
    answer = await api("STREAM.NAMES", asked)
    return list(answer.get("streams") or ())


async def leader(api: Api, stream: str) -> str:
    """Empty where there is none, and where there is no cluster."""
    info = await api(f"STREAM.INFO.{stream}")
    return str((info.get("cluster") or {}).get("leader") or "")
