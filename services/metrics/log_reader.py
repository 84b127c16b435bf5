"""Which points does a log tell? Piece by piece; what it knows in between fits into a few bytes.

Pure: the same pieces give the same points, wherever a reader goes on behind another.
"""

from __future__ import annotations

import logging
import re
from dataclasses import asdict, dataclass, field
from typing import Any

import msgpack

from bus.metric_blocks import Batch
from schemas.log import LogChunk
from schemas.metrics import MOST_SERIES, NAME_LENGTH, Points, Source
from schemas.stream import Stream
from services.metrics.bars import Bar, bar_of
from services.metrics.lines import LONGEST, Cutter, Line, candidates
from services.metrics.pairs import Found, Pair, is_metric, read_json, read_text
from services.metrics.steps import MOST_BARS, BarPlace, Course, Told, apart, headed, of_bar, step_of

log = logging.getLogger(__name__)

READ = (Stream.STDOUT, Stream.STDERR)
ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f]"
)
"""Colours and other orders to a terminal."""
EPOCH_OF = re.compile(r"\b([Ee]poch)\(\w{1,12}\)")
"""MMEngine: ``Epoch(train)  [1][50/391]``."""
STEP_FIRST = re.compile(r"^\s{0,4}(?:\[(\d{1,18})\]|(\d{1,18}):)\s")
"""xgboost, LightGBM, CatBoost: the round comes first."""
MOST_NAMES = 4 * MOST_SERIES
"""Between two calls of ``take``: more than an index has room for."""
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, msgpack.UnpackException)


@dataclass
class Held:
    """What a bar shows, until it shows another place."""

    step: int
    time: float
    values: list[tuple[str, float]]


@dataclass
class State:
    """All that a reader needs to go on."""

    course: Course = field(default_factory=Course)
    carries: dict[str, bytes] = field(default_factory=dict)
    """Letter of a stream to its line without an end."""
    skipping: list[str] = field(default_factory=list)
    """Letters of streams whose line is too long."""
    held: dict[str, Held] = field(default_factory=dict)
    """Label of a bar to what it shows."""


class LogReader:
    """Of one log, from its first byte or from where another reader was."""

    def __init__(self, state: bytes = b"") -> None:
        self._state = load(state)
        self._cutters = {
            stream: Cutter(
                self._state.carries.get(stream.value, b""), stream.value in self._state.skipping
            )
            for stream in READ
        }
        self._batch: Batch = {}
        self.left_out = 0
        """Points since ``take`` whose names were too many."""

    def state(self) -> bytes:
        self._state.carries = {s.value: c.carry for s, c in self._cutters.items() if c.carry}
        self._state.skipping = [s.value for s, c in self._cutters.items() if c.skipping]
        return dump(self._state)

    def feed(self, chunk: LogChunk) -> None:
        at = 0
        for stream, length in chunk.spans:
            if stream in self._cutters:
                whole = self._cutters[stream].feed(chunk.data[at : at + length])
                for line in candidates(whole) if whole else ():
                    self._line(line, chunk.time)
            at += length

    def gap(self) -> None:
        """Bytes are missing: what is left of the line that they cut is no line."""
        for cutter in self._cutters.values():
            cutter.carry, cutter.skipping = b"", True

    def finish(self, time: float) -> None:
        """Nothing follows: what has no end yet counts, too."""
        for cutter in self._cutters.values():
            if cutter.carry and not cutter.skipping:
                for line in candidates(cutter.carry + b"\n"):
                    self._line(line, time)
            cutter.carry, cutter.skipping = b"", False
        self._let_go()

    def _let_go(self) -> None:
        """What bars show: something else was told behind them."""
        for held in self._state.held.values():
            self._tell(held)
        self._state.held.clear()

    def take(self) -> Batch:
        """The points that came since the last call."""
        batch, self._batch, self.left_out = self._batch, {}, 0
        return batch

    # ---- one line

    def _line(self, line: Line, time: float) -> None:
        text = ESCAPES.sub("", line.text)
        if "poch(" in text:
            text = EPOCH_OF.sub(r"\1", text)
        try:
            self._read(text, line.painted, time)
        except (ValueError, OverflowError, RecursionError) as error:
            log.info("a line of a log was not understood: %s", error)

    def _read(self, text: str, painted: bool, time: float) -> None:
        found = json_of(text)
        if found is None and (bar := bar_of(text)) is not None:
            self._bar(bar, painted, time)
            return
        found = found or read_text(text)
        if found.pairs and (first := STEP_FIRST.match(text)):
            turn = Pair("step", float(first[1] or first[2]), True)
            found = Found([turn, *found.pairs], found.position)
        told = apart(found)
        if not told.values:
            if told.epoch is not None and told.step is None and told.batch is None:
                headed(self._state.course, told.epoch)
            return
        if counts(told):
            self._let_go()
            step = step_of(told, self._state.course)
            self._tell(Held(step, time, [(pair.name, pair.value) for pair in told.values]))

    def _bar(self, bar: Bar, painted: bool, time: float) -> None:
        told = apart(read_text(bar.rest))
        if not told.values:
            return
        step = of_bar(self._state.course, bar.label, bar.epoch, bar.place, bar.total)
        values = [(of_set(bar.set_name, pair.name), pair.value) for pair in told.values]
        before = self._state.held.pop(bar.label, None)
        if before is not None and before.step != step:
            self._tell(before)
        now = Held(step, time, values)
        if painted and len(self._state.held) < MOST_BARS:
            self._state.held[bar.label] = now
        else:
            self._tell(now)

    def _tell(self, held: Held) -> None:
        for name, value in dict(held.values).items():
            series = (Source.LOG, name)
            points = self._batch.get(series)
            if points is None:
                if len(self._batch) >= MOST_NAMES:
                    self.left_out += 1
                    continue
                points = self._batch[series] = Points()
            points.add(held.step, held.time, value)


def counts(told: Told) -> bool:
    """Whether a line tells of the program's course: it has a step, or the name of a metric."""
    if told.step is not None or told.epoch is not None or told.batch is not None:
        return True
    return any(is_metric(pair.name) for pair in told.values)


def json_of(text: str) -> Found | None:
    bare = text.strip()
    if bare.startswith("{") and bare.endswith("}") and len(bare) <= LONGEST:
        return read_json(bare)
    return None


def of_set(set_name: str, name: str) -> str:
    """What the bar of a validation shows must not be taken for what the training's shows."""
    if not set_name or set_name[:3] in name.lower():
        return name
    return f"{set_name} {name}"[:NAME_LENGTH]


# ---- what is kept in between


def dump(state: State) -> bytes:
    told = asdict(state)
    told["course"]["told"] = sorted(state.course.told)
    packed: bytes = msgpack.packb(told, use_bin_type=True)
    return packed


def load(data: bytes) -> State:
    """A new one of no bytes, and of what is none: then the next line begins anew."""
    if not data:
        return State()
    try:
        told: dict[str, Any] = msgpack.unpackb(data)
        course = told["course"]
        bars = {label: BarPlace(**place) for label, place in course["bars"].items()}
        read = Course(**{**course, "told": set(course["told"]), "bars": bars})
        held = {
            label: Held(one["step"], one["time"], [(n, v) for n, v in one["values"]])
            for label, one in told["held"].items()
        }
        return State(read, dict(told["carries"]), list(told["skipping"]), held)
    except UNREADABLE as error:
        log.warning("the state of a log's reader cannot be read: %s", error)
        return State()
