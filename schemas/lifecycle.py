"""Which fact leads from which state to which? One total table."""

from __future__ import annotations

from schemas.job import ENDS, Fact, State

Moves = dict[Fact, State]

WAITING: Moves = {
    Fact.QUEUED: State.QUEUED,
    Fact.CANCELLED: State.CANCELLED,
    Fact.FAILED: State.FAILED,
}
QUEUED: Moves = {
    Fact.STARTING: State.STARTING,
    Fact.CANCELLED: State.CANCELLED,
    Fact.FAILED: State.FAILED,
}
STARTING: Moves = {
    Fact.BUILDING: State.STARTING,
    Fact.RUNNING: State.RUNNING,
    Fact.RETRYING: State.WAITING,
    Fact.CANCELLING: State.CANCELLING,
    Fact.SUCCEEDED: State.SUCCEEDED,
    Fact.FAILED: State.FAILED,
}
RUNNING: Moves = {
    Fact.RETRYING: State.WAITING,
    Fact.CANCELLING: State.CANCELLING,
    Fact.SUCCEEDED: State.SUCCEEDED,
    Fact.FAILED: State.FAILED,
}
CANCELLING: Moves = {
    Fact.CANCELLED: State.CANCELLED,
}
TABLE: dict[State, Moves] = {
    State.WAITING: WAITING,
    State.QUEUED: QUEUED,
    State.STARTING: STARTING,
    State.RUNNING: RUNNING,
    State.CANCELLING: CANCELLING,
    **{end: {} for end in ENDS},
}


def next_state(state: State | None, fact: Fact) -> State | None:
    """The state after ``fact``; None where the fact is refused there (and changes nothing).

    ``state`` is None for a job that does not exist yet.
    """
    if state is None:
        return State.WAITING if fact is Fact.SUBMITTED else None
    return TABLE[state].get(fact)
