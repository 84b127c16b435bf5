"""How do secrets stay out of what a program prints, wherever its bytes are split?

A stream is read once. What matches a needle (a secret, or one of the ways in which it is commonly
written) is replaced; an end that may be the begin of a needle is held back until more comes.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

from schemas.secret_names import is_secret

SHORTEST = 6
"""Characters of a value below which it is too ordinary to be looked for."""
LINES_MOST = 256
"""Lines of one value that are looked for each by itself: whoever prints a key may indent it."""
NOTHING: Mapping[str, str] = {}
PERCENT = re.compile(r"%[0-9A-F]{2}")


def needles_of(secret: str) -> Iterator[bytes]:
    """Of all of it without the blanks around, and of each line by itself."""
    text = secret.strip()
    yield from written(text)
    lines = text.splitlines()
    for line in lines[:LINES_MOST] if len(lines) > 1 else ():
        yield line.strip().encode("utf-8", "surrogateescape")


def written(secret: str) -> Iterator[bytes]:
    """The ways in which it is commonly printed."""
    data = secret.encode("utf-8", "surrogateescape")
    yield data
    yield json.dumps(secret)[1:-1].encode()
    yield json.dumps(secret, ensure_ascii=False)[1:-1].encode("utf-8", "surrogateescape")
    yield data.hex().encode()
    yield data.hex().upper().encode()
    for url in (quote(data, safe=""), quote(data), quote_plus(data)):
        yield url.encode()
        yield PERCENT.sub(lambda found: found[0].lower(), url).encode()
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield inside_base64(data, before, encode(bytes(before) + data))


def inside_base64(data: bytes, before: int, encoded: bytes) -> bytes:
    """The characters that ``data`` alone decides, behind so many bytes of something else."""
    return encoded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]


class Needles:
    """What is looked for; made once for all streams of an attempt."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._names: dict[bytes, str] = {}
        for name, secret in secrets.items():
            for needle in needles_of(secret):
                if len(needle) >= SHORTEST:
                    self._names.setdefault(needle, name)
        self._inner = frozenset().union(*(needle[:-1] for needle in self._names))
        """A stream that ends in another byte ends in no part of a needle."""
        self.longest = max(map(len, self._names), default=0)

    @classmethod
    def of(cls, environment: Mapping[str, str], secrets: Mapping[str, str] = NOTHING) -> Needles:
        """Those of the environment by their names, and what was given as secrets."""
        named = {
            name: value
            for name, value in environment.items()
            if len(value) >= SHORTEST and is_secret(name, value)
        }
        return cls({**named, **secrets})

    def __bool__(self) -> bool:
        return bool(self._names)

    def replaced(self, data: bytes) -> bytes:
        """All of a text at once."""
        return self._replaced(data, len(data))[0]

    def redacted(self, text: str) -> str:
        return self.replaced(text.encode("utf-8", "replace")).decode() if self._names else text

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """What is decided, replaced; and the end that may be the begin of a needle."""
        return self._replaced(data, self._held_from(data, 0))

    def _replaced(self, data: bytes, held: int) -> tuple[bytes, bytes]:
        """``data`` without the needles that begin before ``held``, and what comes after them."""
        parts: list[bytes] = []
        done = 0
        for place, needle in self._found(data):
            if place >= held:
                break
            parts += data[done:place], f"[redacted {self._names[needle]}]".encode()
            done = place + len(needle)
            if done > held:
                held = self._held_from(data, done) if held < len(data) else held
        return b"".join((*parts, data[done:held])), data[held:]

    def _found(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The needles in it, from left to right, the longest first; they do not overlap.

        A search for each needle by itself is several times as fast as one expression of them all.
        """
        places = {needle: data.find(needle) for needle in self._names}
        places = {needle: place for needle, place in places.items() if place >= 0}
        while places:
            needle = min(places, key=lambda needle: (places[needle], -len(needle)))
            place = places[needle]
            yield place, needle
            end = place + len(needle)
            for later in [one for one, at in places.items() if at < end]:
                places[later] = data.find(later, end)
                if places[later] < 0:
                    del places[later]

    def _held_from(self, data: bytes, start: int) -> int:
        """Where the longest end begins that is a begin of a needle, but not all of it."""
        size = len(data)
        if start >= size or data[-1] not in self._inner:
            return size
        first = max(start, size - self.longest + 1)
        return min(
            begin_at_end(needle, data, max(first, size - len(needle) + 1)) for needle in self._names
        )


def begin_at_end(needle: bytes, data: bytes, first: int) -> int:
    """The first place from ``first`` on from which all of ``data`` is the begin of the needle."""
    head, size = needle[:1], len(data)
    while (first := data.find(head, first)) >= 0:
        if needle.startswith(data[first:]):
            return first
        first += 1
    return size


class Redactor:
    """One stream."""

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        self.held = b""
        """What may be the begin of a needle; shorter than the longest one."""

    def feed(self, data: bytes) -> bytes:
        """What may go on now."""
        if not self._needles:
            return data
        decided, self.held = self._needles.split(self.held + data if self.held else data)
        return decided

    def flush(self) -> bytes:
        """What was held back: nothing more comes, or not for a while."""
        held, self.held = self.held, b""
        return self._needles.replaced(held)
