"""Which workers fail job after job, and are set aside? Pure: a fold of ended attempts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.job import Attempt, Reason, Record

LIMIT = 3
"""Failures in a row after which a worker is given nothing."""
ASIDE_FIRST = 300.0
ASIDE_MOST = 3600.0
"""Seconds for which it is set aside: first, and at most; each further failure doubles them."""
FAULTS = frozenset(
    {
        Reason.AGENT_ERROR,
        Reason.DISK_FULL,
        Reason.ENGINE_RESTARTED,
    }
)
"""What a machine does to jobs. An image or data that cannot be had may be the job's own mistake,
and a worker that was cut off the network's victim: a bad hour would set all of them aside."""


@dataclass
class Failures:
    """Of one worker, since its last attempt that came to an end of its own."""

    count: int = 0
    at: float = 0.0
    """Unix seconds of the last that counted."""
    text: str = ""


class Health:
    """Every replica folds the same facts: all agree, also after a restart."""

    def __init__(self) -> None:
        self._failures: dict[str, Failures] = {}

    def note(self, record: Record) -> None:
        """Takes in the newest end. Those that one mishap ended together count as one failure."""
        ended = record.current
        if ended is None or ended.end is None:
            return
        if ended.end.reason not in FAULTS:
            self._failures.pop(ended.worker, None)
            return
        failures = self._failures.setdefault(ended.worker, Failures())
        if ended.granted_at >= failures.at:
            failures.count += 1
            failures.at = record.changed_at
            failures.text = told(ended)

    def aside(self, worker: str, now: float) -> str:
        """Why it is set aside; empty where it is not."""
        failures = self._failures.get(worker)
        if failures is None or failures.count < LIMIT:
            return ""
        pause = min(ASIDE_FIRST * 2.0 ** (failures.count - LIMIT), ASIDE_MOST)
        until = failures.at + pause
        if until <= now:
            return ""
        at = datetime.fromtimestamp(until, UTC)
        why = f"{failures.count} failures in a row, last {failures.text}"
        return f"is set aside until {at:%H:%M:%S} UTC: {why}"


def told(attempt: Attempt) -> str:
    assert attempt.end is not None
    reason, detail = attempt.end.reason, attempt.end.detail
    return f"{reason} ({detail})" if detail else str(reason)
