"""What can go wrong on the bus?"""

from __future__ import annotations

from schemas.problem import Problem


class BusError(Exception):
    """The bus did not do what was asked."""


class Refused(BusError):
    """A service answered with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem


class Unanswered(BusError):
    """Nobody answered in time, though the request was repeated."""

    def __init__(self, subject: str, seconds: float) -> None:
        super().__init__(f"no answer to {subject} within {seconds:.0f} s")
        self.subject = subject


class Denied(BusError):
    """NATS does not let us in: the credentials are missing, run out, or revoked."""


class Conflict(BusError):
    """Somebody else wrote first: read again and decide again."""


class StoreFull(BusError):
    """JetStream has no room for this message."""


class NotFound(BusError):
    """There is no such key, object, job or stream."""


class Corrupt(BusError):
    """What was read is not what was written."""
