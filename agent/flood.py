"""What of a program's output goes into its log when it prints more than its pool allows?

A token bucket for the rate, a count for the total. What is over them is left out, with words of
Stoker's own at the begin and the end of each such stretch. The end of a stretch itself is kept,
because a program's last words say why it ended. Pure: time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.spool import missing_here
from schemas.stream import Stream

BURST_SECONDS = 10.0
"""The rate is an average over so long: a log may get as much at once."""
RESUME_SECONDS = 1.0
"""A stretch ends when there is room for so long: else it would end with every piece."""
TELL_EVERY = 60.0
"""Seconds between two words while a stretch lasts."""
TAIL = 64 << 10
"""Bytes before the end of a stretch that are kept, of each stream."""

Part = tuple[Stream, bytes]


@dataclass(frozen=True, slots=True)
class Bound:
    """What one attempt's log may get; 0 for no limit."""

    rate: int = 0
    """Bytes a second."""
    total: int = 0
    """Bytes."""


class Flood:
    """One attempt's log. Nothing of it is left out below the bound."""

    def __init__(self, bound: Bound, stored: int, now: float) -> None:
        """``stored`` bytes are in the log already."""
        self._bound = bound
        self._passed = stored
        self._burst = bound.rate * BURST_SECONDS
        self._tokens = self._burst
        self._filled_at = now
        self._full = False
        """The total is reached: there is no room any more."""
        self._out: Stretch | None = None
        self._line_ended = True

    @property
    def due(self) -> float | None:
        """When ``tick`` has something to do, if nothing is printed until then."""
        if self._out is None:
            return None
        if self._full:
            return self._out.told_at + TELL_EVERY
        wanted = self._bound.rate * RESUME_SECONDS - self._tokens
        return self._filled_at + max(0.0, wanted / self._bound.rate)

    def take(self, stream: Stream, data: bytes, now: float) -> list[Part]:
        """What goes into the log of it, Stoker's words included."""
        parts = self.tick(now)
        if self._out is None:
            passed = self._pass(data, now)
            if passed:
                parts.append((stream, passed))
            data = data[len(passed) :]
            if not data:
                return parts
            self._out = Stretch(self._why(), now)
            parts.append(self._say(f"output is left out from here on: {self._out.why}"))
        self._out.add(stream, data)
        return parts

    def tick(self, now: float) -> list[Part]:
        """Ends a stretch where there is room again, or tells that it lasts."""
        if self._out is None:
            return []
        self._fill(now)
        # Half a byte less: sums of floats need not reach the whole.
        if not self._full and self._tokens + 0.5 >= self._bound.rate * RESUME_SECONDS:
            return self._resume(int(self._tokens))
        if now < self._out.told_at + TELL_EVERY:
            return []
        self._out.told_at = now
        out = self._out
        return [self._say(f"{out.size} bytes ({out.lines} lines) were left out until now")]

    def end(self) -> list[Part]:
        """Nothing more comes: its last words, whatever the bound is."""
        return self._resume(TAIL * len(Stream))

    def _resume(self, room: int) -> list[Part]:
        out, self._out = self._out, None
        if out is None:
            return []
        tail = out.cut_tail(room)
        size = sum(len(data) for _, data in tail)
        self._passed += size
        self._tokens -= size
        words = self._say(missing_here(out.size, out.lines, out.why))
        self._line_ended = not tail or tail[-1][1].endswith(b"\n")
        return [words, *tail]

    def _pass(self, data: bytes, now: float) -> bytes:
        """As much of it as there is room for; whole lines where it is not all."""
        room = len(data)
        if self._bound.rate:
            self._fill(now)
            room = min(room, int(self._tokens))
        if self._bound.total and self._passed + room > self._bound.total:
            room, self._full = max(0, self._bound.total - self._passed), True
        if room < len(data):
            data = data[: data.rfind(b"\n", 0, room) + 1 or room]
        self._passed += len(data)
        self._tokens -= len(data)
        if data:
            self._line_ended = data.endswith(b"\n")
        return data

    def _fill(self, now: float) -> None:
        since = max(0.0, now - self._filled_at)
        self._tokens = min(self._burst, self._tokens + since * self._bound.rate)
        self._filled_at = now

    def _why(self) -> str:
        if self._full:
            return f"a log of this pool holds {told(self._bound.total)}, and its last lines"
        return f"more than {told(self._bound.rate)} a second, this pool's limit"

    def _say(self, words: str) -> Part:
        start = "" if self._line_ended else "\n"
        self._line_ended = True
        return Stream.STOKER, f"{start}[stoker] {words}\n".encode()


class Stretch:
    """Output that is left out, and the end of it as far as it may still be wanted."""

    def __init__(self, why: str, now: float) -> None:
        self.why = why
        self.told_at = now
        self.size = self.lines = 0
        self._tails: dict[Stream, bytearray] = {}
        """By stream: what one of two pipes brings late must not push out the other's last words."""
        self._cut: set[Stream] = set()

    def add(self, stream: Stream, data: bytes) -> None:
        self.size += len(data)
        self.lines += data.count(b"\n")
        tail = self._tails.setdefault(stream, bytearray())
        tail += data[-TAIL:]
        if len(data) > TAIL or len(tail) > 2 * TAIL:
            self._cut.add(stream)
            del tail[:-TAIL]

    def cut_tail(self, room: int) -> list[Part]:
        """Its last lines, of ``room`` bytes at most; they are not left out then.

        Standard error goes first where there is little room, and is last in the log.
        """
        parts: list[Part] = []
        for stream in sorted(self._tails, key=lambda stream: stream is not Stream.STDERR):
            most = min(room, TAIL)
            tail = self._tails[stream]
            data = bytes(tail[-most:]) if most > 0 else b""
            if stream in self._cut or len(data) < len(tail):
                data = data[data.find(b"\n") + 1 :] or data
            if data:
                room -= len(data)
                parts.append((stream, data))
        self.size -= sum(len(data) for _, data in parts)
        self.lines -= sum(data.count(b"\n") for _, data in parts)
        return parts[::-1]


def told(size: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        scale = 1 << {"GiB": 30, "MiB": 20, "KiB": 10}[unit]
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"
