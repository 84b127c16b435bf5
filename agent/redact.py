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
PERCENT = re.compile(r"%[0-9A-F]{2}")


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
            for needle in written(secret):
                if len(needle) >= SHORTEST:
                    self._names.setdefault(needle, name)
        self._longest_first = sorted(self._names, key=lambda needle: (-len(needle), needle))
        self._pattern = re.compile(b"|".join(map(re.escape, self._longest_first)))
        self._inner = frozenset(byte for needle in self._names for byte in needle[:-1])
        """A stream that ends in another byte ends in no part of a needle."""
        self.longest = max(map(len, self._names), default=0)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Needles:
        return cls(
            {
                name: value
                for name, value in environment.items()
                if len(value) >= SHORTEST and is_secret(name, value)
            }
        )

    def __bool__(self) -> bool:
        return bool(self._names)

    def replaced(self, data: bytes) -> bytes:
        """All of a text at once."""
        return self._pattern.sub(self._replacement, data) if self._names else data

    def redacted(self, text: str) -> str:
        return self.replaced(text.encode("utf-8", "replace")).decode() if self._names else text

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """What is decided, replaced; and the end that may be the begin of a needle."""
        held = self._held_from(data, 0)
        if not any(needle in data for needle in self._longest_first):
            return data[:held], data[held:]
        parts: list[bytes] = []
        done = 0
        for found in self._pattern.finditer(data):
            if found.start() >= held:
                break
            parts += data[done : found.start()], self._replacement(found)
            done = found.end()
            if done > held:
                held = self._held_from(data, done)
        return b"".join((*parts, data[done:held])), data[held:]

    def _replacement(self, found: re.Match[bytes]) -> bytes:
        return f"[redacted {self._names[found[0]]}]".encode()

    def _held_from(self, data: bytes, start: int) -> int:
        """Where the longest end begins that is a begin of a needle, but not all of it."""
        size = len(data)
        if start >= size or data[-1] not in self._inner:
            return size
        first = max(start, size - self.longest + 1)
        return min(
            begin_at_end(needle, data, max(first, size - len(needle) + 1))
            for needle in self._longest_first
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
