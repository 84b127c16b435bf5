"""Which rows have changed since the viewers were told last? Of many states of a row only the last.

A bar that is drawn a hundred times between two frames is sent once.
"""

from __future__ import annotations

from dataclasses import replace

from bus.row_values import Rows
from ui.row_frames import spans_behind

MOST_BYTES = 1 << 20
"""More than this between two frames is no use to anybody: the viewers start anew."""
REPAINTED = 256
"""A run with more rows than this is not looked at for rows that were painted over."""
MOST_RUNS = 2048
"""Runs after which those that were painted over are left out."""


class Changes:
    """Changes in the order in which they came, as few as possible."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._runs: list[Rows] = []
        self._bytes = 0
        self.too_many = False

    def __bool__(self) -> bool:
        return bool(self._runs) or self.too_many

    def add(self, runs: list[Rows]) -> None:
        if self.too_many:
            return
        for run in runs:
            self._runs.append(run)
            self._bytes += len(run.data)
        if self._bytes > self._most or len(self._runs) > MOST_RUNS:
            self._runs = merged(without_painted_over(self._runs))
            self._bytes = sum(len(run.data) for run in self._runs)
        if self._bytes > self._most or len(self._runs) > MOST_RUNS:
            self._runs, self._bytes, self.too_many = [], 0, True

    def take(self) -> list[Rows]:
        """All since the last call; none where there were too many, which ``too_many`` says."""
        runs, self._runs, self._bytes = self._runs, [], 0
        return merged(without_painted_over(runs)) if len(runs) > 1 else runs

    def forget(self) -> None:
        """The viewers are given all anew."""
        self._runs, self._bytes, self.too_many = [], 0, False


def without_painted_over(runs: list[Rows]) -> list[Rows]:
    """Without the runs whose every row comes again later, as a whole."""
    kept: list[Rows] = []
    painted: set[int] = set()
    for run in reversed(runs):
        numbers = range(run.first, run.first + run.count)
        if len(numbers) <= REPAINTED:
            if painted.issuperset(numbers):
                continue
            painted.update(numbers[1:] if run.append else numbers)
        kept.append(run)
    kept.reverse()
    return kept


def merged(runs: list[Rows]) -> list[Rows]:
    """Runs that follow each other, or paint over each other's end, as one."""
    found: list[list[Rows]] = []
    last = 0
    for run in runs:
        if found and run.first == last + (0 if run.append else 1):
            found[-1].append(run)
        else:
            found.append([run])
        last = run.first + run.count - 1
    return [one_run(group) for group in found]


def one_run(group: list[Rows]) -> Rows:
    if len(group) == 1:
        return group[0]
    parts, spans = [group[0].data], list(group[0].spans)
    for run in group[1:]:
        parts += (run.data,) if run.append else (b"\n", run.data)
        spans += spans_behind(run.spans, 1) if run.append else run.spans
    return replace(group[0], data=b"".join(parts), spans=tuple(spans))
