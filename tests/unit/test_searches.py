"""Is a search that was made before made again, and is what is kept of searches bounded?"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import pytest

from bus.row_search import Hits, Query
from ui import searches
from ui.searches import Searches

KEY = ("0d4k8q2m-7xv3", 1, 0)


@dataclass
class Log:
    total: int
    complete: bool = False


class Finder:
    """Every row matches; remembers from where on it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, log: Log, query: Query, known: Hits | None = None) -> Hits:
        start = known.settled if known else 0
        self.asked.append((query.text, start))
        numbers = array("Q", known.numbers if known else [])
        numbers.extend(range(start + 1, log.total + 1))
        return Hits(numbers, log.total, log.total, log.total)


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> Finder:
    finder = Finder()
    monkeypatch.setattr(searches, "find", finder)
    return finder


async def test_of_a_log_that_grows_only_what_is_new_is_searched(finder: Finder) -> None:
    kept = Searches()
    for total in (10, 25):
        assert (await kept.hits(KEY, Log(total), Query("a"))).count == total
    assert finder.asked == [("a", 0), ("a", 10)]


async def test_of_a_log_that_is_complete_nothing_is_searched_twice(finder: Finder) -> None:
    kept = Searches()
    for _ in range(3):
        await kept.hits(KEY, Log(10, complete=True), Query("a"))
    await kept.hits(KEY, Log(10, complete=True), Query("a", case=True))
    assert finder.asked == [("a", 0), ("a", 0)]


async def test_the_oldest_searches_are_forgotten(finder: Finder) -> None:
    kept = Searches(most_bytes=8 * 1000)
    for text in "abcd":
        await kept.hits(KEY, Log(400, complete=True), Query(text))
        assert kept.size <= 8 * 1000
    await kept.hits(KEY, Log(400, complete=True), Query("d"))
    await kept.hits(KEY, Log(400, complete=True), Query("a"))
    assert [text for text, _ in finder.asked] == ["a", "b", "c", "d", "a"]
