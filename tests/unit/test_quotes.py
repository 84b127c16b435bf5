"""Which lines are quoted of what failed? The cases are real outputs: ``tests/corpus/failures``."""

from __future__ import annotations

import itertools
import re

import pytest

from agent.log_lines import last_part, lines_of
from agent.quotes import MOST_BYTES, MOST_LINES, quote_of
from agent.spool import Piece
from schemas.job import AttemptEnd, Quote
from schemas.reason import Reason
from schemas.stream import Stream
from tests.corpus.failure_cases import Case, cases

CASES = cases()
HEADER = "Traceback (most recent call last)"


def quoted(case: Case, log: Piece | None = None) -> Quote | None:
    numbers = {name: int(case.facts[name]) for name in ("code", "signal") if name in case.facts}
    end = AttemptEnd(
        reason=Reason(case.facts["reason"]),
        exit_code=numbers.get("code"),
        signal=numbers.get("signal"),
    )
    return quote_of(log or case.log, end, ran=case.ran)


def log_of(*parts: tuple[Stream, bytes], offset: int = 0) -> Piece:
    spans = tuple((stream, len(data)) for stream, data in parts)
    return Piece(offset, 0.0, spans, b"".join(data for _, data in parts))


def failed(*parts: tuple[Stream, bytes], offset: int = 0, reason: Reason = Reason.EXIT) -> Quote:
    end = AttemptEnd(reason=reason, exit_code=1)
    quote = quote_of(log_of(*parts, offset=offset), end, ran=True)
    assert quote is not None
    return quote


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_lines_that_say_why_are_quoted(case: Case) -> None:
    quote = quoted(case)
    assert (quote.lines if quote else ()) == case.quote
    assert (quote.rule if quote else "none") == case.facts["rule"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_quote_lies_where_it_says_and_in_its_bounds(case: Case) -> None:
    quote = quoted(case)
    if quote is None:
        return
    assert len(quote.lines) <= MOST_LINES
    assert sum(len(line.encode()) + 1 for line in quote.lines) <= MOST_BYTES
    there = [
        line.text
        for line in lines_of(case.log)
        if quote.start <= line.start and line.end <= quote.end
    ]
    for line in quote.lines:
        assert line == "…" or any(text.startswith(line.removesuffix("…")) for text in there)
    assert quote.lines[-1] != "…"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_quote_has_the_place_of_the_whole_log_when_only_its_tail_is_read(case: Case) -> None:
    whole = quoted(case)
    moved = Piece(1 << 30, 0.0, case.log.spans, case.log.data)
    later = quoted(case, moved)
    assert (later is None) == (whole is None)
    if whole and later:
        assert later.start - whole.start == later.end - whole.end == 1 << 30


def naive_quotes(case: Case) -> list[list[str]]:
    """What simple rules would take: the last lines, the last traceback, the last ``error``."""
    lines = [line.text for line in lines_of(case.log) if line.text]
    headers = [at for at, line in enumerate(lines) if HEADER in line]
    errors = [line for line in lines if re.search(r"(?i)error", line)]
    return [lines[-5:], lines[headers[-1] :][:12] if headers else lines[-5:], errors[-1:]]


def test_each_case_names_its_source_and_many_would_fool_a_simple_rule() -> None:
    assert all(case.facts["source"] for case in CASES)
    assert len(CASES) >= 100
    fooled = [
        case
        for case in CASES
        if "naive" in case.facts
        and any(case.quote[-1] not in lines for lines in naive_quotes(case))
    ]
    assert len(fooled) >= 25


def test_lines_are_what_is_left_on_the_screen() -> None:
    data = b"\x1b[31mred\x1b[0m\n10%\r20%\x1b[K\r100%\r\nlonger\rshort\ncaf\xe9\x07\n"
    found = [line.text for line in lines_of(log_of((Stream.STDOUT, data)))]
    assert found == ["red", "100%", "shortr", "caf\ufffd"]


@pytest.mark.parametrize("most", range(6))
def test_the_last_part_holds_the_last_lines_at_their_places(most: int) -> None:
    log = log_of((Stream.STDOUT, b"1\n2\n"), (Stream.STDERR, b"3\n4\n5"), offset=10)
    whole = lines_of(log)
    assert lines_of(last_part(log, most)) == whole[max(0, len(whole) - 1 - most) :]


def test_a_line_goes_on_where_its_own_stream_does() -> None:
    parts = ((Stream.STDERR, b"Value"), (Stream.STDOUT, b"1\n2"), (Stream.STDERR, b"Error: x\n"))
    found = [(line.text, line.start, line.end) for line in lines_of(log_of(*parts, offset=100))]
    assert found == [("ValueError: x", 100, 117), ("1", 105, 107), ("2", 107, 108)]


@pytest.mark.parametrize("reason", [r for r in Reason if r not in (Reason.EXIT,)])
def test_what_the_machine_did_is_not_blamed_on_the_log(reason: Reason) -> None:
    """A handled traceback long before the end says nothing of a time limit or a lost worker."""
    noise = b"".join(b"epoch %d\n" % number for number in range(20))
    data = b"Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'x'\n" + noise
    quote = quote_of(log_of((Stream.STDERR, data)), AttemptEnd(reason=reason), ran=True)
    program = (Reason.BUILD_FAILED, Reason.IMAGE_UNAVAILABLE, Reason.DISK_FULL)
    if quote is not None and reason not in program:
        assert quote.rule == "last-lines"


@pytest.mark.parametrize(
    "end",
    [
        AttemptEnd(reason=Reason.EXIT, exit_code=0),
        AttemptEnd(reason=Reason.CANCELLED, exit_code=1),
        AttemptEnd(reason=Reason.WORKER_LOST),
    ],
)
def test_an_end_that_is_no_failure_of_the_program_quotes_nothing(end: AttemptEnd) -> None:
    log = log_of((Stream.STDERR, b"Traceback (most recent call last):\nKeyError: 'x'\n"))
    assert quote_of(log, end, ran=True) is None


def test_a_long_line_keeps_its_beginning() -> None:
    quote = failed((Stream.STDERR, b"fatal: " + b"x" * 100_000 + b"\n"))
    assert quote.lines[0] == "fatal: " + "x" * 392 + "…"
    assert quote.end == 100_008


def test_any_bytes_are_read() -> None:
    pieces = (b"Traceback (most recent call last):\n", b"\x1b[", b"\r", b"\xff\xfe\n", b"  + | \n")
    for order in itertools.permutations(pieces):
        failed((Stream.STDERR, b"".join(order) + b"KeyError: 1\n"))


@pytest.mark.parametrize(
    "data",
    [
        b"1" * (256 << 10),
        b"a/|" * (80 << 10),
        b"~^" * (128 << 10),
        b"1/2 [" * (50 << 10),
        b"usage: x\n" * (28 << 10),
        b"Traceback (most recent call last):\n" * 7000,
        b"Traceback (most recent call last):\n" + b'  File "a.py", line 9, in f\n' * 9000,
        b"\r 1%|#| 1/9 [0:1<0:1]" * 12000,
        b"\n" * (256 << 10),
    ],
    ids=itertools.count(),
)
@pytest.mark.timeout(20)
def test_no_tail_takes_long(data: bytes) -> None:
    """The bound is far off: what is searched must not grow with the square of a line."""
    quote = quote_of(
        log_of((Stream.STDERR, data)), AttemptEnd(reason=Reason.EXIT, exit_code=1), ran=True
    )
    assert quote is None or len(quote.lines) <= MOST_LINES
