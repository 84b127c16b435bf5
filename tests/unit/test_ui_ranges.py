"""Which bytes does a Range header ask for?"""

from __future__ import annotations

import pytest

from ui.ranges import ByteRange, Unsatisfiable, read_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-9", ByteRange(0, 10)),
        ("bytes=90-", ByteRange(90, 100)),
        ("bytes=90-500", ByteRange(90, 100)),
        ("bytes=-10", ByteRange(90, 100)),
        ("bytes=-500", ByteRange(0, 100)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("lines=0-9", None),
        ("bytes=0-1,5-6", None),
        ("bytes=x-1", None),
    ],
)
def test_ranges_of_a_log_of_100_bytes(header: str | None, expected: ByteRange | None) -> None:
    assert read_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_end_is_unsatisfiable(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        read_range(header, 100)


def test_an_empty_log_has_no_ranges() -> None:
    with pytest.raises(Unsatisfiable):
        read_range("bytes=0-", 0)
