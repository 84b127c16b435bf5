"""What does a reader of rows end up with, who only ever hears of changes?"""

from __future__ import annotations

from collections.abc import Iterable

from bus.row_values import Rows, Settled
from bus.screen import Screen
from schemas.log import LogChunk, Span
from schemas.stream import Stream

TIME = 1_700_000_000.0

Part = tuple[Stream, bytes]
Told = dict[int, tuple[Stream, bytes]]


def chunk(offset: int, *parts: Part, time: float = TIME) -> LogChunk:
    spans = tuple(Span(stream, len(data)) for stream, data in parts)
    return LogChunk(1, 0, offset, time, spans, b"".join(data for _, data in parts))


def out(offset: int, data: bytes) -> LogChunk:
    return chunk(offset, (Stream.STDOUT, data))


class Reader:
    """Keeps rows as a page does, and what settled as the archive does."""

    def __init__(self, screen: Screen | None = None) -> None:
        self.screen = screen or Screen()
        self.rows: Told = {}
        self.settled: list[Settled] = []
        self.raw = b""
        self.told = 0
        """Bytes of rows that it heard of."""

    def feed(self, *parts: Part) -> None:
        self.raw += b"".join(data for _, data in parts)
        self.hear(self.screen.feed(chunk(self.screen.end, *parts)))

    def feed_out(self, data: bytes) -> None:
        self.feed((Stream.STDOUT, data))

    def finish(self) -> None:
        self.hear(self.screen.finish())

    def hear(self, news: Iterable[Rows]) -> None:
        for rows in news:
            self.told += len(rows.data)
            for number, (stream, data) in numbered(rows).items():
                if rows.append and number == rows.first:
                    data = self.rows[number][1] + data
                self.rows[number] = (stream, data)
        self.settled += self.screen.take_settled()

    def restart(self) -> None:
        """Goes on with a screen that was kept and loaded."""
        self.screen = Screen.load(self.screen.dump())

    @property
    def lines(self) -> list[bytes]:
        assert list(sorted(self.rows)) == list(range(1, self.screen.total + 1))
        return [self.rows[number][1] for number in range(1, self.screen.total + 1)]

    def archived(self) -> Told:
        """The rows as the archive gives them back, of runs that follow upon each other."""
        found: Told = {}
        stop = 0
        for run in self.settled:
            assert run.first == len(found) + 1
            assert run.start == stop, "runs cover the raw log without a hole"
            stop = run.stop
            if run.rows is not None:
                assert (run.rows.first, run.rows.count) == (run.first, run.count)
                found |= numbered(run.rows)
            else:
                for number, line in enumerate(raw_rows(self.raw[run.start : run.stop]), run.first):
                    found[number] = (self.rows[number][0], line)
            assert len(found) == run.first + run.count - 1
        return found


def numbered(rows: Rows) -> Told:
    streams = [span.stream for span in rows.spans for _ in range(span.count)]
    lines = rows.data.split(b"\n")
    assert rows.count == len(lines) == len(streams)
    return {
        number: pair
        for number, pair in enumerate(zip(streams, lines, strict=True), start=rows.first)
    }


def raw_rows(raw: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in raw.removesuffix(b"\n").split(b"\n")]


def shown(*pieces: bytes) -> list[bytes]:
    reader = Reader()
    for piece in pieces:
        reader.feed_out(piece)
    reader.finish()
    return reader.lines
