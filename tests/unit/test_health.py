"""Workers that fail job after job are set aside, for a time that grows."""

from __future__ import annotations

from schemas.job import Attempt, AttemptEnd, Reason, Record, State
from schemas.spec import JobSpec
from services.scheduler.health import ASIDE_FIRST, Health


def ended(reason: Reason, granted: float, at: float, worker: str = "w1") -> Record:
    end = AttemptEnd(reason=reason, detail="the disk is broken")
    attempt = Attempt(number=1, worker=worker, claim="c", nonce="n", granted_at=granted, end=end)
    return Record(
        id="j", owner="me", spec=JobSpec(), bundle="b", state=State.FAILED, submitted_at=0.0,
        changed_at=at, attempt=1, attempts=(attempt,),
    )  # fmt: skip


def failing(*times: float) -> Health:
    health = Health()
    for at in times:
        health.note(ended(Reason.AGENT_ERROR, at - 1, at))
    return health


def test_three_failures_in_a_row_set_a_worker_aside_with_the_reason() -> None:
    assert failing(10, 20).aside("w1", 21) == ""
    why = failing(10, 20, 30).aside("w1", 31)
    assert "3 failures in a row, last agent_error (the disk is broken)" in why
    assert failing(10, 20, 30).aside("w2", 31) == ""


def test_it_may_try_again_after_a_while_and_then_waits_for_longer() -> None:
    health = failing(10, 20, 30)
    assert health.aside("w1", 31 + ASIDE_FIRST) == ""
    health.note(ended(Reason.DISK_FULL, 400, 401))
    assert health.aside("w1", 402 + ASIDE_FIRST)
    assert health.aside("w1", 402 + 2 * ASIDE_FIRST) == ""


def test_an_end_that_is_the_jobs_own_shows_that_the_worker_works() -> None:
    health = failing(10, 20)
    health.note(ended(Reason.EXIT, 24, 25))
    health.note(ended(Reason.AGENT_ERROR, 29, 30))
    assert health.aside("w1", 31) == ""


def test_what_one_mishap_ended_together_is_one_failure() -> None:
    health = Health()
    for _ in range(8):
        health.note(ended(Reason.ENGINE_RESTARTED, 10, 20))
    assert health.aside("w1", 21) == ""


def test_an_image_that_cannot_be_had_is_nobodys_fault() -> None:
    health = Health()
    for at in (10.0, 20.0, 30.0, 40.0):
        health.note(ended(Reason.IMAGE_UNAVAILABLE, at - 1, at))
    assert health.aside("w1", 41) == ""
