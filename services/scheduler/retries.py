"""Is a job tried again, when, and by whom? Pure."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.job import Attempt, Kind, Reason, Record
from schemas.spec import JobSpec

INFRASTRUCTURE_RETRIES = 3
"""Tries after the first where the machine was at fault and the job does not say otherwise."""
BACKOFF_FIRST = 2.0
"""Seconds before the second retry; the first goes at once, each later one doubles."""
BACKOFF_MOST = 300.0
ANOTHER_FOR = 15.0
"""Seconds for which a ticket is kept for workers that the job has not failed on."""
ANOTHER_AGAIN = 0.25
"""Seconds after which it is offered again."""


def tries(attempts: Sequence[Attempt]) -> int:
    """Those that count: one that had to make room is not the job's fault, nor its machine's."""
    return sum(1 for one in attempts if not (one.end and one.end.reason is Reason.PREEMPTED))


def retries_left(spec: JobSpec, attempts: Sequence[Attempt], reason: Reason) -> bool:
    if spec.retries is not None:
        return tries(attempts) <= spec.retries
    return reason.kind is Kind.INFRASTRUCTURE and tries(attempts) <= INFRASTRUCTURE_RETRIES


def backoff(attempts: Sequence[Attempt]) -> float:
    """Seconds before the next attempt: 0, 2, 4, 8 …"""
    count = tries(attempts)
    return 0.0 if count <= 1 else min(BACKOFF_FIRST * 2.0 ** (count - 2), BACKOFF_MOST)


def failed_on(record: Record) -> frozenset[str]:
    """Workers whose own fault it was that an attempt of this job failed."""
    return frozenset(
        one.worker
        for one in record.attempts
        if one.end
        and one.end.reason.kind is Kind.INFRASTRUCTURE
        and one.end.reason is not Reason.PREEMPTED
    )
