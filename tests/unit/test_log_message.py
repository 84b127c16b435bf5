"""A log message's headers say exactly what its bytes are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.log import Cursor, LogChunk, Span, Stream, log_headers, read_log

spans = st.lists(
    st.builds(Span, st.sampled_from(list(Stream)), st.integers(min_value=1, max_value=40)),
    max_size=8,
)


def chunk(parts: list[Span], offset: int = 0) -> LogChunk:
    data = bytes(range(256)) * 2
    return LogChunk(1, 0, offset, 1.5, tuple(parts), data[: sum(p.length for p in parts)])


@given(spans, st.integers(min_value=0, max_value=1 << 50))
def test_headers_bring_back_the_chunk(parts: list[Span], offset: int) -> None:
    before = chunk(parts, offset)
    assert read_log(1, 0, log_headers(before), before.data) == before


@given(spans, st.integers(min_value=0, max_value=400))
def test_cutting_a_chunk_keeps_bytes_and_spans_together(parts: list[Span], cut: int) -> None:
    whole = chunk(parts, 1000)
    cut = min(cut, len(whole.data))
    rest = whole.after(1000 + cut)
    assert rest.data == whole.data[cut:]
    assert sum(span.length for span in rest.spans) == len(rest.data)
    assert rest.cursor == whole.cursor


def test_spans_that_do_not_fit_the_data_are_refused() -> None:
    headers = log_headers(chunk([Span(Stream.STDOUT, 3)]))
    with pytest.raises(ValueError, match="add up"):
        read_log(1, 0, headers, b"four")


@pytest.mark.parametrize("text", ["", "1", "1.2", "a.b.c", "1.0.-5", "1.0.5.6", "\uff11.0.5"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        Cursor.parse(text)


def test_a_cursor_reads_back_what_it_writes() -> None:
    assert Cursor.parse(str(Cursor(2, 1, 4096))) == Cursor(2, 1, 4096)
