"""Which attempts does a record give to a worker that does not know of them? Pure: time comes in."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.job import Record
from schemas.worker import Beat

Mark = tuple[str, int, str]
"""Job, attempt and the agent's session: one that started anew gets its time anew."""


class Missing:
    """Since when beats leave attempts out. Holds no more than the last beat of each worker did."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[str, dict[Mark, float]] = {}

    def overdue(self, beat: Beat, held: Iterable[Record], now: float) -> list[Record]:
        """Those of ``held`` left out for longer than a claim in flight can explain."""
        listed = {(key.job, key.attempt) for key in (*beat.held, *beat.ends)}
        before = self._since.pop(beat.worker, {})
        since: dict[Mark, float] = {}
        overdue = []
        for record in held:
            if (record.id, record.attempt) in listed:
                continue
            mark = (record.id, record.attempt, beat.session)
            since[mark] = before.get(mark, now)
            if now - since[mark] > self._patience:
                overdue.append(record)
        if since:
            self._since[beat.worker] = since
        return overdue

    def __len__(self) -> int:
        return sum(map(len, self._since.values()))
