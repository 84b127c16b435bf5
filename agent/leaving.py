"""How does an agent go: after what it holds, or at once, for a successor to take it up?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

TELL_EVERY = 60.0
"""Seconds between two lines on what a draining agent still waits for."""


@dataclass(frozen=True)
class Leaving:
    """What an agent is asked to do; both may be set at any time, in this order."""

    drain: asyncio.Event = field(default_factory=asyncio.Event)
    """Take nothing new, finish what runs, and go."""
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    """Go now. What runs goes on under its shims, and the next agent here takes it up."""


class Left(Exception):
    """The agent goes, and leaves what runs to a successor."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """One attempt that is waited for."""

    timeout: float | None
    """Seconds that its program may run."""
    started_at: float | None
    """Unix seconds."""


def waits_for(attempts: Sequence[Remaining], now: float) -> str:
    """One sentence: how many, and for how long at most."""
    if not attempts:
        return "nothing runs"
    some = "1 attempt runs" if len(attempts) == 1 else f"{len(attempts)} attempts run"
    endless = sum(1 for one in attempts if one.timeout is None)
    if endless:
        which = "it has" if len(attempts) == 1 else f"{endless} of them have"
        return f"{some}; {which} no time limit"
    return f"{some}, for {told(max(left(one, now) for one in attempts))} at most"


def left(one: Remaining, now: float) -> float:
    assert one.timeout is not None
    return max(0.0, one.timeout - (now - one.started_at if one.started_at else 0.0))


def told(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
