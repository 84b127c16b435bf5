"""The ids under which a worker asks for jobs."""

from __future__ import annotations

from agent.claims import REMEMBERED, Claims


def test_a_job_is_asked_for_once_at_a_time() -> None:
    claims = Claims()
    assert claims.begin("a")
    assert claims.begin("a") is None
    assert claims.open == ("a",)
    claims.end("a", answered=True)
    assert claims.open == ()


def test_what_was_not_answered_is_asked_again_under_its_id() -> None:
    claims = Claims()
    first = claims.begin("a")
    claims.end("a", answered=False)
    assert claims.begin("a") == first
    claims.end("a", answered=True)
    assert claims.begin("a") != first


def test_no_more_ids_are_kept_than_fit() -> None:
    claims = Claims()
    ids = {}
    for number in range(REMEMBERED + 1):
        ids[f"job{number}"] = claims.begin(f"job{number}")
        claims.end(f"job{number}", answered=False)
    assert claims.begin("job1") == ids["job1"]
    assert claims.begin("job0") != ids["job0"]
