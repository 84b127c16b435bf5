"""Who wrote a byte of a log? Imports nothing heavy: shims use it."""

from __future__ import annotations

from enum import StrEnum


class Stream(StrEnum):
    """Who wrote the bytes. The letters are those of the spans header and the spool."""

    STDOUT = "o"
    STDERR = "e"
    BUILD = "b"
    STOKER = "s"
    """Stoker's own words: the environment's choice, a gap and its size."""
