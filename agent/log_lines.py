"""Which lines does a piece of a log hold, as a person would see them?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent.spool import Piece
from schemas.stream import Stream

ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
ERASE = re.compile(r"\x1b\[[0-2]?K")
LONGEST = 4000
"""Characters of a line that are looked at."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
SOURCE = re.compile(
    r"\[(?:rank|default)\d+\]:\s?"  # PyTorch's launchers
    r"|\[\d+,\d+\]<std(?:err|out)>:\s?"  # mpirun
    r"|\(\w+ pid=\d+[^)]*\)\s"  # Ray
    r"|#\d+ \d+\.\d+ ?"  # BuildKit: the step, then its seconds
)
JOINED = re.compile(
    r".*?\d{1,3}%\|.{0,300}?\| *[\w.?]{1,20}/[\w.?]{1,20} \[[^\]]{0,300}\](?=\S)"  # a bar
    r"|.*[^\s│|+]\s*(?<!Group )(?<!Original )(?=Traceback \(most recent call last\):$)"
)
"""What stands before the words of somebody else on the same line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one writer; the bytes of others may lie between its own."""

    stream: Stream
    start: int
    """Offset in the log of its first byte."""
    end: int
    """Offset behind its last byte, the line's end included."""
    text: str
    """What is left on the screen of it: no escapes, and of ``\\r`` the last state."""
    source: str
    """Which of several processes wrote it, where it says so itself."""
    body: str
    """``text`` without the words that name the source."""


def last_part(piece: Piece, lines: int) -> Piece:
    """The end of it that holds at most so many."""
    at = len(piece.data)
    for _ in range(lines + 1):
        at = piece.data.rfind(b"\n", 0, at)
        if at < 0:
            return piece
    skip = at + 1
    spans: list[tuple[Stream, int]] = []
    for stream, length in piece.spans:
        if length > skip:
            spans.append((stream, length - skip))
        skip = max(0, skip - length)
    return Piece(piece.offset + at + 1, piece.time, tuple(spans), piece.data[at + 1 :])


def lines_of(piece: Piece) -> list[Line]:
    """In the order in which they begin. The last of each stream may have no end yet."""
    found: list[Line] = []
    begun: dict[Stream, tuple[int, list[bytes]]] = {}
    ends: dict[Stream, int] = {}
    for stream, offset, data, whole in cut(piece):
        start, parts = begun.setdefault(stream, (offset, []))
        parts.append(data)
        ends[stream] = offset + len(data)
        if whole:
            del begun[stream]
            found.append(as_line(stream, start, ends[stream], b"".join(parts)))
    for stream, (start, parts) in begun.items():
        found.append(as_line(stream, start, ends[stream], b"".join(parts)))
    return sorted(found, key=lambda line: line.start)


def cut(piece: Piece) -> Iterator[tuple[Stream, int, bytes, bool]]:
    """Stream, offset, bytes up to a line's end, and whether that end is there."""
    at = 0
    for stream, length in piece.spans:
        until = at + length
        while at < until:
            newline = piece.data.find(b"\n", at, until)
            after = until if newline < 0 else newline + 1
            yield stream, piece.offset + at, piece.data[at:after], newline >= 0
            at = after


def as_line(stream: Stream, start: int, end: int, data: bytes) -> Line:
    raw = data.removesuffix(b"\n")
    text = visible(raw.decode("utf-8", "replace"))
    named = SOURCE.match(text)
    source, body = "", text
    if named is not None:
        source = named[0].split()[0] if named[0].startswith("#") else named[0].strip()
        body = text[named.end() :]
    joined = JOINED.match(body)
    if joined is not None:
        text = body = body[joined.end() :]
        at = raw.rfind(body[:40].encode())
        start += at if at > 0 and end - start == len(data) else 0
    return Line(stream, start, end, text, source, body)


def visible(text: str) -> str:
    if "\r" in text:
        text = painted(text)
    if "\x1b" in text:
        text = ESCAPE.sub("", text)
    return CONTROL.sub("", text[:LONGEST]).rstrip()


def painted(text: str) -> str:
    """What a line shows after each ``\\r`` has begun it anew."""
    shown = ""
    for part in text.rstrip("\r").split("\r"):
        plain = ESCAPE.sub("", part)
        shown = plain if ERASE.search(part) else plain + shown[len(plain) :]
    return shown
