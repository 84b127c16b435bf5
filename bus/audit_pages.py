"""Which deeds are noted, newest first, a page at a time?

The stream is read in windows from its end backwards, each within bounds: a filter that finds little
in millions of entries answers with what it has, and where to go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from bus import subjects
from bus.codec import decode
from bus.connection import Bus
from bus.errors import Corrupt, NotFound
from bus.follow import Delivery, follow, stored_time
from schemas.audit import AuditEntry, AuditList, AuditRow, Deed

log = logging.getLogger(__name__)

STREAM = "AUDIT"
FIRST_WINDOW = 256
"""Sequences."""
WIDEST = 1 << 22
FEW = 64
"""A window with fewer entries than that is followed by a wider one."""
MOST_AT_ONCE = 4096
"""Entries of one window; one with more is read in parts."""
MOST_LOOKED = 20_000
"""Entries that one page looks at."""
MOST_WINDOWS = 64
PATIENCE = 15.0
"""Seconds for one page."""


@dataclass(frozen=True)
class Wanted:
    """Which entries, and how many."""

    who: str = ""
    deeds: tuple[Deed, ...] = ()
    target: str = ""
    """To be found in the target."""
    since: float | None = None
    until: float | None = None
    """Unix seconds, by the clock of the bus."""
    before: int | None = None
    after: int | None = None
    """Sequences: only older ones, only newer ones."""
    limit: int = 100

    @property
    def filters(self) -> tuple[str, ...]:
        return tuple(subjects.audit("*", deed) for deed in self.deeds) or (subjects.AUDIT_ALL,)

    def takes(self, row: AuditRow) -> bool:
        return self.who in ("", row.who) and self.target.lower() in row.target.lower()


async def audit_page(bus: Bus, wanted: Wanted) -> AuditList:
    """At most ``limit`` entries. Raises ``BusError`` or ``TimeoutError``."""
    async with asyncio.timeout(PATIENCE):
        return await read_page(bus, wanted)


async def read_page(bus: Bus, wanted: Wanted) -> AuditList:
    state = (await bus.api(f"STREAM.INFO.{STREAM}"))["state"]
    first, last = max(1, int(state["first_seq"])), int(state["last_seq"])
    low, high = await bounds(bus, wanted, first, last)
    found: list[AuditRow] = []
    looked, window = 0, FIRST_WINDOW
    for _ in range(MOST_WINDOWS):
        if high <= low or len(found) >= wanted.limit or looked >= MOST_LOOKED:
            break
        start = max(low, high - window)
        rows = await read_window(bus, wanted, start, high)
        if rows is None:
            window = max(FIRST_WINDOW, window // 16)
            continue
        found += [row for row in reversed(rows) if wanted.takes(row)]
        looked, high = looked + len(rows), start
        if len(rows) < FEW:
            window = min(window * 4, WIDEST)
    if len(found) > wanted.limit:
        found = found[: wanted.limit]
        high = found[-1].sequence
    return AuditList(entries=tuple(found), before=high if high > low else None, last=last)


async def bounds(bus: Bus, wanted: Wanted, first: int, last: int) -> tuple[int, int]:
    """The first sequence that counts, and the one behind the last."""
    low, high = first, last + 1
    if wanted.since is not None:
        low = await sequence_at(bus, wanted.since, first, high)
    if wanted.until is not None:
        high = await sequence_at(bus, wanted.until, first, high)
    if wanted.after is not None:
        low = max(low, wanted.after + 1)
    if wanted.before is not None:
        high = min(high, wanted.before)
    return low, high


async def sequence_at(bus: Bus, time: float, low: int, high: int) -> int:
    """The first sequence that was stored at that time or later: by halves, for none is missing."""
    while low < high:
        middle = (low + high) // 2
        try:
            found = await bus.api(f"STREAM.MSG.GET.{STREAM}", {"seq": middle})
            early = stored_time(found["message"]) < time
        except NotFound:
            early = True  # it went meanwhile, to make room
        low, high = (middle + 1, high) if early else (low, middle)
    return low


async def read_window(bus: Bus, wanted: Wanted, start: int, end: int) -> list[AuditRow] | None:
    """Entries from ``start`` on and before ``end``; None where they are too many at once."""
    rows: list[AuditRow] = []
    async with contextlib.aclosing(stored(bus, wanted, start)) as deliveries:
        async for delivery in deliveries:
            if delivery.sequence >= end:
                break
            row = read_row(delivery)
            if row is not None:
                rows.append(row)
            if len(rows) > MOST_AT_ONCE:
                return None
    return rows


def stored(bus: Bus, wanted: Wanted, start: int) -> AsyncGenerator[Delivery, None]:
    return follow(bus, STREAM, wanted.filters, after=start - 1, stop_at_end=True)


def read_row(delivery: Delivery) -> AuditRow | None:
    try:
        entry = decode(AuditEntry, delivery.data, delivery.headers)
    except Corrupt as error:
        log.error("entry %d of the audit cannot be read: %s", delivery.sequence, error)
        return None
    _, _, service, *_ = delivery.subject.split(".")
    return AuditRow(
        **entry.model_dump(),
        sequence=delivery.sequence,
        stored_at=delivery.time,
        service=service,
    )
