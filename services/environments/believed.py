"""What was looked up a moment ago, so that a window of chunks costs one look?"""

from __future__ import annotations

import time
from collections import OrderedDict

BELIEVED = 2.0
"""Seconds for which a grant, a lease, or what an image is made of, is not looked up again."""
REMEMBERED = 4096


class Believed:
    """Of one replica."""

    def __init__(self) -> None:
        self._values: OrderedDict[tuple[str, ...], tuple[float, str]] = OrderedDict()

    def get(self, key: tuple[str, ...]) -> str | None:
        until, value = self._values.get(key, (0.0, ""))
        return value if time.monotonic() < until else None

    def put(self, key: tuple[str, ...], value: str) -> str:
        """The value."""
        self._values[key] = (time.monotonic() + BELIEVED, value)
        self._values.move_to_end(key)
        while len(self._values) > REMEMBERED:
            self._values.popitem(last=False)
        return value
