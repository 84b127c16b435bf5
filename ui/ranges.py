"""Which bytes does a ``Range`` header ask for?"""

from __future__ import annotations

import re
from typing import NamedTuple

RANGE = re.compile(r"^bytes=(\d{0,19})-(\d{0,19})$")


class ByteRange(NamedTuple):
    """Half open: ``start <= offset < stop``."""

    start: int
    stop: int


class Unsatisfiable(ValueError):
    """The range lies behind the end."""


def read_range(header: str | None, size: int) -> ByteRange | None:
    """None where all is asked for (or the header is one that may be ignored).

    Several ranges in one header are answered with everything, as RFC 9110 allows.
    """
    match = RANGE.match(header.replace(" ", "")) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start == stop:
        raise Unsatisfiable(f"the log has {size} bytes")
    return ByteRange(start, stop)
