"""Which part of a log does a request ask for: by lines, by its end, by time?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from bus.log_places import LogMap, Spot
from schemas.spec import parse_duration

LINES = re.compile(r"^(\d{1,15})(?:-(\d{1,15})?)?$")
MOST_LINES = 10_000_000
NAMES = ("lines", "tail", "since", "until")


class BadWindow(ValueError):
    """What was asked for cannot be read; the message says what to write."""


@dataclass(frozen=True)
class Window:
    """What a request asked for; at least one of it."""

    first: int | None = None
    last: int | None = None
    """Numbers of lines, counted from 1."""
    tail: int | None = None
    """That many lines at the end."""
    since: float | None = None
    until: float | None = None
    """Unix seconds, by the worker's clock."""

    async def place(self, log: LogMap) -> tuple[Spot, int]:
        """Where it starts, and the offset behind its end."""
        start, stop = Spot(0, 1), log.end.offset
        if self.first is not None:
            start = await log.of_line(self.first)
        if self.last is not None:
            stop = (await log.of_line(self.last + 1)).offset
        if self.since is not None:
            start = await log.of_time(self.since)
        if self.until is not None:
            stop = (await log.of_time(self.until)).offset
        if self.tail is not None:
            start = max(start, await log.of_last(self.tail), key=lambda spot: spot.offset)
        return start, max(start.offset, stop)


def read_window(asked: dict[str, str], now: float) -> Window | None:
    """From ``lines=120-140``, ``tail=1000``, ``since=10m``; None where nothing of it is there.

    Raises ``BadWindow``.
    """
    given = {name: asked[name] for name in NAMES if asked.get(name)}
    if not given:
        return None
    if "lines" in given and len(given) > 1:
        raise BadWindow("lines stands alone: write lines=120-140, or tail, since and until")
    first, last = read_lines(given["lines"]) if "lines" in given else (None, None)
    return Window(
        first,
        last,
        read_count(given["tail"]) if "tail" in given else None,
        read_time(given["since"], now) if "since" in given else None,
        read_time(given["until"], now) if "until" in given else None,
    )


def read_lines(text: str) -> tuple[int, int | None]:
    match = LINES.match(text)
    if match is None:
        raise BadWindow(f"lines={text}: write a line such as 120, or lines such as 120-140 or 120-")
    first = int(match[1])
    last = int(match[2]) if match[2] else (None if text.endswith("-") else first)
    if first < 1 or (last is not None and last < first):
        raise BadWindow(f"lines={text}: lines are counted from 1, and the first is not the later")
    return first, last


def read_count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < len(text) < 16:
        raise BadWindow(f"tail={text}: write a number of lines, such as 1000")
    return min(int(text), MOST_LINES)


def read_time(text: str, now: float) -> float:
    """Unix seconds, an ISO time (UTC where it does not say), or a time ago such as ``10m``."""
    if re.fullmatch(r"\d{9,12}(\.\d+)?", text):
        return float(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now - parse_duration(text)
        except ValueError:
            raise BadWindow(
                f"{text}: write a time such as 2026-11-24T10:00:00, or a time ago such as 10m"
            ) from None
    return (at if at.tzinfo else datetime.fromisoformat(f"{at.isoformat()}+00:00")).timestamp()
