"""What is stored of an attempt's metrics, and up to where were its sources read?

Written by the service ``metrics``, read by whoever draws curves.
"""

from __future__ import annotations

from pydantic import Field

from schemas.message import Message
from schemas.metrics import Source, key_of, unit_of


class SeriesHead(Message):
    """One series, as it is after all points that came."""

    source: Source
    name: str
    count: int = 0
    """Points that are kept."""
    bad: int = 0
    """Those of them that are NaN or infinite."""
    last: float = 0.0
    low: float | None = None
    high: float | None = None
    """Of the values that are numbers; None where there is none."""
    first_step: int = 0
    last_step: int = 0
    first_time: float = 0.0
    last_time: float = 0.0

    @property
    def key(self) -> str:
        return key_of(self.source, self.name)

    @property
    def unit(self) -> str:
        return unit_of(self.source, self.name)


class Block(Message):
    """Points that lie in an object of their own, packed."""

    id: str
    """Last token of its subject."""
    points: int
    size: int
    """Bytes as stored."""
    since: float
    until: float
    """Unix seconds of the first and the last of its points."""


class Spark(Message):
    """A small curve of the series that says most, for lists."""

    source: Source
    name: str
    stride: int = 1
    """Every so many points one is kept, from the first on."""
    seen: int = 0
    """Points of the series."""
    values: tuple[float, ...] = ()


class FileCursor(Message):
    """How far an event file in the outputs was read."""

    offset: int = 0
    """From which its reader wants to go on."""
    damaged: int = 0
    """Records that were lost."""
    lost: bool = False
    """Whether the beginning of the next record is being looked for."""


class LeftOut(Message):
    """What was not kept; all in points, but for ``params``."""

    series: int = 0
    """Of series beyond the limit."""
    points: int = 0
    """Beyond the limit of points, or too many at once."""
    params: int = 0


class MetricsHead(Message):
    """The index of one attempt's metrics, or of what a worker measured of itself."""

    worker: str
    at: float = 0.0
    """Unix seconds at which it was written, by the service's clock."""
    complete: bool = False
    """Nothing more comes."""
    series: tuple[SeriesHead, ...] = ()
    """In the order in which they came."""
    params: dict[str, str] = Field(default_factory=dict)
    blocks: tuple[Block, ...] = ()
    """In the order in which their points came."""
    tail: bytes = b""
    """The points behind the last block, packed as one."""
    tail_points: int = 0
    spark: Spark | None = None
    left_out: LeftOut = LeftOut()
    log_offset: int = 0
    """Up to where the log was read."""
    log_state: bytes = b""
    """Of its reader, at that place."""
    heard: int = 0
    """Sequence of the last message of ``METRICS`` that is in it."""
    heard_at: float = 0.0
    """Unix seconds at which that one was stored: a sequence may come a second time."""
    round: int = 0
    """Of the last manifest of outputs that was looked at."""
    files: dict[str, FileCursor] = Field(default_factory=dict)
    """Path in the outputs to how far it was read."""

    @property
    def points(self) -> int:
        return sum(block.points for block in self.blocks) + self.tail_points

    @property
    def anything(self) -> bool:
        """Whether there is something to show."""
        return bool(self.series or self.params)

    def find(self, key: str) -> SeriesHead | None:
        return next((one for one in self.series if one.key == key), None)
