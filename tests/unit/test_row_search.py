"""What a search of rows finds in runs of them."""

from __future__ import annotations

import pytest

from bus import row_search
from bus.row_search import Hits, Matcher, Query, ascending
from bus.screen import RowSpan
from schemas.stream import Stream

ROWS = [
    b"loss 1", b"", b"LOSS 2", b"\x1b[31mlo\x1b[0mss", b"\xff \xd0\x96", "ж".encode(),
    "straße".encode(), b"x",
]  # fmt: skip
SPANS = (RowSpan(Stream.STDOUT, 3, 1.0), RowSpan(Stream.STDERR, 5, 2.0))


def numbers(query: Query) -> list[int]:
    return list(Matcher(query).numbers(b"\n".join(ROWS), 10, SPANS))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query("loss"), [10, 12, 13]),
        (Query("Loss", case=True), []),
        (Query("loss", case=True), [10, 13]),
        (Query("Ж"), [14, 15]),
        (Query("ж", case=True), [15]),
        (Query("STRASSE"), []),
        (Query("STRAßE"), [16]),
        (Query("31m"), []),
        (Query("loss", stream="e"), [13]),
        (Query("", stream="o"), [10, 11, 12]),
        (Query("", stream="b"), []),
        (Query("s"), [10, 12, 13, 16]),
    ],
)
def test_a_query_matches_rows_as_they_are_shown(query: Query, found: list[int]) -> None:
    assert numbers(query) == found


@pytest.mark.parametrize("every", [1, 3, 50])
def test_many_hits_and_few_are_numbered_alike(every: int) -> None:
    rows = [b"hit \xffhit" if n % every == 0 else b"\xff other" for n in range(1000)]
    found = Matcher(Query("hit")).numbers(b"\n".join(rows), 1, ())
    assert list(found) == [n + 1 for n in range(0, 1000, every)]


def test_hits_beyond_the_most_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_search, "MOST_HITS", 5)
    hits = Hits(settled=100)
    hits.add(ascending([1, 2, 3]))
    hits.add(ascending([4, 5, 6, 7]))
    assert (list(hits.numbers), hits.count) == ([1, 2, 3, 4, 5], 7)


def test_a_later_search_forgets_the_rows_that_could_change() -> None:
    hits = Hits(settled=3)
    hits.add(ascending([1, 3, 4, 6]))
    kept = hits.upto_settled()
    assert (list(kept.numbers), kept.count, kept.settled) == ([1, 3], 2, 3)
