"""Which files are sent when, and what is too much?"""

from __future__ import annotations

import pytest

from agent.output_plan import Known, Limits, fitting, grew, is_still, plan, told
from agent.output_rounds import end_of, with_outputs
from agent.output_scan import Found, Scan
from schemas.job import AttemptEnd, Fact, Reason
from schemas.outputs import LeftOut, Manifest, OutputFile, OutputsEnd
from schemas.worker import Report

NOW = 1000.0
GIB = 1 << 30


def file(path: str, size: int = 1, at: float = 100.0, inode: int = 1) -> Found:
    marks = (inode, int(at * 1e9), int(at * 1e9))
    return Found(path, size, 0o644, marks)


def known(found: Found) -> Known:
    return Known(found, OutputFile(found.path, found.size, 0o644, 1.0, b"d" * 32, b""))


def scanned(*files: Found, more: int = 0, endless: bool = False) -> Scan:
    return Scan(1000, files=list(files), more=more, endless=endless)


@pytest.mark.parametrize(
    ("modified", "still"),
    [(900.0, True), (995.0, True), (995.1, False), (1000.0, False), (1000.1, True), (9e9, True)],
)
def test_a_file_is_still_when_nobody_wrote_to_it_lately(modified: float, still: bool) -> None:
    assert is_still(file("a", at=modified), NOW, 5.0) is still


def test_while_the_program_runs_what_is_being_written_waits() -> None:
    planned = plan(scanned(file("old"), file("new", at=999.0)), {}, Limits(), NOW, 5.0)
    assert [one.path for one in planned.read] == ["old"]


def test_an_event_file_does_not_wait_until_nobody_writes_to_it() -> None:
    names = ("runs/events.out.tfevents.17.host", "tfevents/model.pt")
    found = scanned(*(file(name, at=999.0) for name in names))
    assert [one.path for one in plan(found, {}, Limits(), NOW, 5.0).read] == [names[0]]
    before = file(names[0], size=10)
    assert grew(before, file(names[0], size=12, at=999.0))
    assert not grew(before, file(names[0], size=9))
    assert not grew(before, file(names[0], size=12, inode=2))


def test_what_is_being_written_anew_stays_as_it_was_stored() -> None:
    before = known(file("model", at=500.0))
    planned = plan(scanned(file("model", at=999.0)), {"model": before}, Limits(), NOW, 5.0)
    assert (planned.read, planned.keep) == ((), (before,))


def test_at_the_end_everything_that_changed_is_read() -> None:
    before = {"a": known(file("a")), "b": known(file("b"))}
    found = scanned(file("a"), file("b", size=2), file("c", at=NOW))
    planned = plan(found, before, Limits(), NOW, None)
    assert [one.path for one in planned.read] == ["b", "c"]
    assert [one.file.path for one in planned.keep] == ["a"]


def test_another_file_under_the_same_name_and_time_is_seen() -> None:
    before = {"a": known(file("a", inode=1))}
    planned = plan(scanned(file("a", inode=2)), before, Limits(), NOW, None)
    assert len(planned.read) == 1


def test_within_the_limits_everything_is_kept() -> None:
    files, over = fitting(scanned(file("a", 5), file("b", 5)), {}, Limits(10, 2))
    assert (len(files), over) == (2, "")


def test_no_limit_is_no_limit() -> None:
    files, over = fitting(scanned(file("a", 1 << 50)), {}, Limits(0, 0))
    assert (len(files), over) == (1, "")


def test_of_too_much_the_smallest_are_kept_and_the_limit_is_told() -> None:
    scan = scanned(file("model", 60 * GIB), file("log", 1), file("data", 10 * GIB))
    files, over = fitting(scan, {}, Limits(64 * GIB, 100))
    assert [one.path for one in files] == ["log", "data"]
    assert over == (
        "its outputs are too large: 3 files with 70 GiB, where 100 files and 64 GiB are allowed;"
        " 2 files with 10 GiB were kept, the smallest first"
    )


def test_of_too_many_what_was_kept_before_stays() -> None:
    scan = scanned(file("a", 1), file("b", 2), file("c", 3), more=7)
    files, over = fitting(scan, {"c": known(file("c"))}, Limits(0, 2))
    assert [one.path for one in files] == ["c", "a"]
    assert "10 files with at least 6 bytes, where 2 files are allowed" in over


def test_a_folder_without_end_is_told_so() -> None:
    _, over = fitting(scanned(file("a"), more=9, endless=True), {}, Limits(0, 2))
    assert "more than 2000000 files" in over


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (64 * GIB, "64 GiB")],
)
def test_sizes_are_told_in_words(size: int, words: str) -> None:
    assert told(size) == words


def report(code: int) -> Report:
    end = AttemptEnd(reason=Reason.EXIT, exit_code=code)
    fact = Fact.SUCCEEDED if code == 0 else Fact.FAILED
    return Report(worker="w", job="j", attempt=1, nonce="n", fact=fact, at=1.0, end=end)


def test_too_much_fails_a_job_that_succeeded() -> None:
    end = OutputsEnd(over="too large", detail="2 files")
    told = with_outputs(report(0), end)
    assert told.fact is Fact.FAILED
    assert told.end is not None
    assert (told.end.reason, told.end.detail) == (Reason.OUTPUTS_TOO_LARGE, "too large")
    assert (told.end.exit_code, told.end.outputs) == (0, end)


def test_a_job_that_failed_keeps_its_own_reason() -> None:
    told = with_outputs(report(3), OutputsEnd(over="too large"))
    assert told.end is not None
    assert (told.end.reason, told.end.exit_code) == (Reason.EXIT, 3)


def test_an_end_is_the_same_whatever_became_of_its_outputs() -> None:
    one = with_outputs(report(0), OutputsEnd(files=1)).end
    assert one is not None
    assert one.same(report(0).end)


def test_the_end_says_what_is_stored_and_what_is_not() -> None:
    files = tuple(OutputFile(name, 1024, 0o644, 1.0, b"d" * 32, b"d" * 32) for name in "ab")
    whole = Manifest(files, (LeftOut("link", "a link"),), 1)
    assert end_of(whole, "").detail == "2 files of outputs, 2 KiB; 1 left out"
    waiting = end_of(None, "nobody answered")
    assert not waiting.stored
    assert "not stored yet (nobody answered)" in waiting.detail
