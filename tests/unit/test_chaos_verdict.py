"""Does the judge of the chaos runs see what it must not overlook?"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.chaos.load import Asked
from benchmarks.chaos.verdict import Verdict, judge_exclusive, judge_log, judge_record

ASKED = Asked("job", 3)
BEGUN = "begun in 4f\n"
NOTICE = "[stoker] the program is heard again; what it printed may be missing here\n"


def record(state: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {"state": state, "attempt": 1, "attempts": [attempt(1)], "reason": "exit", **more}


def attempt(number: int, code: int = 0) -> dict[str, Any]:
    return {"number": number, "end": {"reason": "exit", "exit_code": code}}


def read(text: str) -> Verdict:
    verdict = Verdict()
    judge_log(verdict, ASKED, record(), text)
    return verdict


def test_a_log_with_every_line_once_is_clean() -> None:
    assert read(f"[stoker] hello\n{BEGUN}line 0 at 1.0\nline 1 at 1.1\nline 2 at 1.2\n").clean


@pytest.mark.parametrize(
    ("text", "lost", "doubled"),
    [
        (f"{BEGUN}line 0 at 1.0\nline 2 at 1.2\n", 1, 0),
        (f"{BEGUN}line 0 at 1.0\nline 1 at 1.1\n", 1, 0),
        (f"{BEGUN}line 0 at 1.0\nline 1 at 1.1\nline 1 at 1.1\nline 2 at 1.2\n", 0, 1),
        (f"{BEGUN}line 0 at 1.0\nline 1 at 1.1\nline 2 at 1.2\nline 3 at 1.3\n", 0, 1),
        (f"{BEGUN}{BEGUN}line 0 at 1.0\nline 1 at 1.1\nline 2 at 1.2\n", 0, 1),
        ("not read: ClientError()", 3, 0),
    ],
)
def test_a_lost_or_doubled_line_is_counted(text: str, lost: int, doubled: int) -> None:
    verdict = read(text)
    assert (verdict.lines_lost, verdict.lines_doubled) == (lost, doubled)
    assert not verdict.clean


def test_lines_out_of_order_are_a_trouble() -> None:
    assert not read(f"{BEGUN}line 0 at 1.0\nline 2 at 1.2\nline 1 at 1.1\n").clean


@pytest.mark.parametrize(
    ("found", "ends", "counted"),
    [
        (record(), {1: "succeeded"}, "none"),
        (record(), {1: "succeeded", 2: "failed"}, "winners"),
        (record(attempts=[attempt(1), attempt(2)]), {1: "succeeded"}, "winners"),
        (record(attempts=[attempt(1, 1)]), {1: "succeeded"}, "winners"),
        (record("running", attempts=[]), {}, "lost"),
        (record("cancelled"), {1: "cancelled"}, "wrong"),
        (record("failed", detail="", attempts=[attempt(1, 143)]), {1: "failed"}, "wrong"),
        (record("failed", reason="worker_lost", detail="", attempts=[]), {1: "failed"}, "wrong"),
    ],
)
def test_a_job_that_is_lost_or_wins_twice_is_counted(
    found: dict[str, Any], ends: dict[int, str], counted: str
) -> None:
    verdict = Verdict()
    judge_record(verdict, ASKED, found, ends)
    got = {name: getattr(verdict, name) for name in ("lost", "winners", "wrong")}
    assert got == {name: int(name == counted) for name in got}


@pytest.mark.parametrize(
    ("logs", "twice"),
    [
        (["line 0 at 1.0\nline 1 at 2.0\n", "line 0 at 2.5\n"], 0),
        (["line 0 at 1.0\nline 1 at 2.0\n", "", "line 0 at 1.5\n"], 1),
        (["", "line 0 at 1.5\n"], 0),
    ],
)
def test_an_exclusive_job_that_ran_twice_at_one_time_is_counted(
    logs: list[str], twice: int
) -> None:
    verdict = Verdict()
    judge_exclusive(verdict, ASKED, record(), logs)
    assert verdict.twice == twice


@pytest.mark.parametrize(
    ("text", "lost", "told"),
    [
        (f"{BEGUN}line 0 at 1.0\n{NOTICE}line 2 at 1.2\n", 0, 1),
        (f"{BEGUN}{NOTICE}line 0 at 1.0\nline 2 at 1.2\n", 1, 0),
        (f"{BEGUN}line 0 at 1.0\nline 1 at 1.1\n{NOTICE}", 0, 1),
        (f"{BEGUN}line 0 at 1.0\n[stoker] what it prints now may be missing\n", 0, 2),
        (f"{BEGUN}line 0 at 1.0\n{NOTICE}line 1 at 1.1\nline 2 at 1.2\n", 0, 0),
    ],
)
def test_a_gap_that_is_told_is_counted_apart(text: str, lost: int, told: int) -> None:
    verdict = read(text)
    assert (verdict.lines_lost, verdict.lines_told) == (lost, told)
    assert verdict.clean == (lost + told == 0)
