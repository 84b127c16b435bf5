"""The lifecycle decides every pair of state and fact, and nothing leaves an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.job import ENDS, HELD, Fact, State
from schemas.lifecycle import TABLE, Action, move, next_state


def test_every_state_has_a_row() -> None:
    assert set(TABLE) == set(State)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("fact", list(Fact))
def test_every_pair_is_decided(state: State, fact: Fact) -> None:
    after = next_state(state, fact)
    assert after is None or isinstance(after, State)
    if state in ENDS:
        assert after is (state if fact is Fact.REFUSED else None)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("fact", list(Fact))
def test_what_follows_from_a_step_fits_where_it_leads(state: State, fact: Fact) -> None:
    after = move(state, fact)
    if after is None:
        return
    actions = set(after.actions)
    assert len(actions) == len(after.actions)
    assert (Action.TIDY in actions) == (after.state in ENDS)
    assert (Action.PUBLISH_TICKET in actions) == (fact is Fact.QUEUED)
    # A claimed ticket is acknowledged by its worker; any other way out leaves it lying there.
    left_unclaimed = state is State.QUEUED and after.state is not state
    assert (Action.WITHDRAW_TICKET in actions) == (left_unclaimed and fact is not Fact.STARTING)
    # Room or a job that may go shows up wherever a place is left or a wait begins anew.
    if state is not after.state and (state in HELD or after.state in ENDS):
        frees = after.state not in HELD
        assert (Action.RELEASE in actions) == frees
    if after.state is State.CANCELLING and state is not after.state:
        assert Action.STOP in actions


@pytest.mark.parametrize("fact", list(Fact))
def test_a_job_begins_by_being_submitted_and_in_no_other_way(fact: Fact) -> None:
    assert next_state(None, fact) == (State.WAITING if fact is Fact.SUBMITTED else None)


def test_what_is_being_cancelled_can_only_become_cancelled() -> None:
    facts = {f for f in Fact if next_state(State.CANCELLING, f)}
    assert facts == {Fact.CANCELLED, Fact.REFUSED}


@pytest.mark.parametrize("state", list(State))
def test_a_refusal_is_noted_everywhere_and_changes_no_state(state: State) -> None:
    assert next_state(state, Fact.REFUSED) is state


@given(st.lists(st.sampled_from(list(Fact)), max_size=40))
def test_whatever_comes_in_whatever_order_an_end_stays(facts: list[Fact]) -> None:
    state = State.WAITING
    for fact in facts:
        after = next_state(state, fact) or state
        if state in ENDS:
            assert after is state
        if state is State.CANCELLING:
            assert after in (State.CANCELLING, State.CANCELLED)
        if after in HELD and state not in HELD:
            assert state is State.QUEUED or fact is Fact.REINSTATED
        state = after
