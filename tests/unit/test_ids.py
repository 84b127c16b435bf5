"""Job ids sort by time and hold only what a subject's token may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import EPOCH, JOB_ID, TICK, job_id

CENTURY = EPOCH + 100 * 365 * 86400
times = st.floats(min_value=EPOCH, max_value=CENTURY)


@given(times, st.integers(min_value=0))
def test_an_id_is_one_token_of_a_subject(now: float, entropy: int) -> None:
    assert JOB_ID.match(job_id(now, entropy))


@given(times, times, st.integers(min_value=0), st.integers(min_value=0))
def test_the_later_job_has_the_greater_id(one: float, two: float, a: int, b: int) -> None:
    earlier, later = sorted((one, two))
    if int((later - EPOCH) / TICK) > int((earlier - EPOCH) / TICK):
        assert job_id(earlier, a) < job_id(later, b)
