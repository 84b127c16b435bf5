"""Which fact leads from which state to which, and what has to follow? One total table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schemas.job import ENDS, Fact, State


class Action(StrEnum):
    """What follows from a step. Done after it is written, and repeated until it is so."""

    RELEASE = "release"
    """Room or a waiting job showed up: the pool's policy looks again."""
    PUBLISH_TICKET = "publish_ticket"
    WITHDRAW_TICKET = "withdraw_ticket"
    STOP = "stop"
    """Every worker that holds an attempt which should not run is told so."""
    TIDY = "tidy"
    """The job's older facts can go: the newest holds the timeline."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where a fact leads, and what follows from it."""

    state: State
    actions: tuple[Action, ...] = ()


Moves = dict[Fact, Move]

RELEASE, PUBLISH, WITHDRAW = Action.RELEASE, Action.PUBLISH_TICKET, Action.WITHDRAW_TICKET
ENDED = (Action.RELEASE, Action.TIDY)
UNCLAIMED = (Action.WITHDRAW_TICKET, Action.RELEASE, Action.TIDY)


def noted(state: State, *actions: Action) -> Moves:
    """What a superseded attempt says is noted in every state and changes none."""
    return {Fact.REFUSED: Move(state, actions)}


WAITING: Moves = {
    Fact.QUEUED: Move(State.QUEUED, (PUBLISH,)),
    Fact.REINSTATED: Move(State.STARTING),
    Fact.CANCELLED: Move(State.CANCELLED, ENDED),
    Fact.FAILED: Move(State.FAILED, ENDED),
    **noted(State.WAITING),
}
QUEUED: Moves = {
    Fact.STARTING: Move(State.STARTING),
    Fact.REINSTATED: Move(State.STARTING, (WITHDRAW,)),
    Fact.CANCELLED: Move(State.CANCELLED, UNCLAIMED),
    Fact.FAILED: Move(State.FAILED, UNCLAIMED),
    **noted(State.QUEUED),
}
STARTING: Moves = {
    Fact.BUILDING: Move(State.STARTING),
    Fact.RUNNING: Move(State.RUNNING),
    Fact.REINSTATED: Move(State.STARTING, (Action.STOP, RELEASE)),
    Fact.RETRYING: Move(State.WAITING, (RELEASE,)),
    Fact.CANCELLING: Move(State.CANCELLING, (Action.STOP,)),
    Fact.SUCCEEDED: Move(State.SUCCEEDED, ENDED),
    Fact.FAILED: Move(State.FAILED, ENDED),
    **noted(State.STARTING),
}
RUNNING: Moves = {
    Fact.RETRYING: Move(State.WAITING, (RELEASE,)),
    Fact.CANCELLING: Move(State.CANCELLING, (Action.STOP,)),
    Fact.SUCCEEDED: Move(State.SUCCEEDED, ENDED),
    Fact.FAILED: Move(State.FAILED, ENDED),
    **noted(State.RUNNING),
}
CANCELLING: Moves = {
    Fact.CANCELLED: Move(State.CANCELLED, ENDED),
    **noted(State.CANCELLING),
}
TABLE: dict[State, Moves] = {
    State.WAITING: WAITING,
    State.QUEUED: QUEUED,
    State.STARTING: STARTING,
    State.RUNNING: RUNNING,
    State.CANCELLING: CANCELLING,
    **{end: noted(end, Action.TIDY) for end in ENDS},
}
BEGIN: Moves = {Fact.SUBMITTED: Move(State.WAITING, (RELEASE,))}
"""Of a job that does not exist yet."""


def move(state: State | None, fact: Fact) -> Move | None:
    """Where ``fact`` leads from ``state``; None where it is refused there (and changes nothing).

    ``state`` is None for a job that does not exist yet.
    """
    return (BEGIN if state is None else TABLE[state]).get(fact)


def next_state(state: State | None, fact: Fact) -> State | None:
    """The state alone."""
    after = move(state, fact)
    return after.state if after else None
