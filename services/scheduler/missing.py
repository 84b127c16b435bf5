"""Which attempts does a record give to a worker that does not know of them? Pure: time comes in."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.job import Record
from schemas.worker import Beat

Mark = tuple[str, int, str]
"""Job, attempt and the agent's session: one that started anew gets its time anew."""


class Missing:
    """For how long beats leave attempts out. Holds no more than each worker's last beat did."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._left_out: dict[str, tuple[float, dict[Mark, float]]] = {}
        """When the worker's last beat came, and for how long it had left each out by then."""

    def overdue(self, beat: Beat, held: Iterable[Record], now: float) -> list[Record]:
        """Those of ``held`` left out for too long; one that the worker still asks for is not.

        No pause between two beats counts for more than half of that: in an outage the claim is in
        flight, too, and comes to its end when beats come again.
        """
        listed = {(key.job, key.attempt) for key in (*beat.held, *beat.ends)}
        at, before = self._left_out.pop(beat.worker, (now, {}))
        more = min(now - at, self._patience / 2)
        left_out: dict[Mark, float] = {}
        overdue = []
        for record in held:
            if (record.id, record.attempt) in listed or record.id in beat.claims:
                continue
            mark = (record.id, record.attempt, beat.session)
            left_out[mark] = before[mark] + more if mark in before else 0.0
            if left_out[mark] > self._patience:
                overdue.append(record)
        if left_out:
            self._left_out[beat.worker] = now, left_out
        return overdue

    def __len__(self) -> int:
        return sum(len(left_out) for _, left_out in self._left_out.values())
