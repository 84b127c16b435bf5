"""How do metrics look to those who draw them? JSON has no NaN: such values are null, and listed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from pydantic import Field

from schemas.message import Message
from schemas.metric_head import LeftOut, MetricsHead, SeriesHead
from schemas.metrics import MOST_PARAMS, MOST_POINTS, MOST_SERIES, Points, Source

SOURCES = list(Source)
Bad = tuple[int, str]
"""Index of a value, and what it is."""


class SeriesView(Message):
    """One series of an attempt."""

    key: str
    name: str
    source: Source
    unit: str = ""
    count: int
    bad: int
    last: float | None
    last_bad: str = ""
    min: float | None
    max: float | None
    first_step: int
    last_step: int
    first_time: float
    last_time: float


class LeftOutView(Message):
    """What was not kept."""

    series: int = 0
    """Points of series beyond the limit."""
    points: int = 0
    params: int = 0


class AttemptMetrics(Message):
    """What one attempt told."""

    attempt: int
    worker: str
    complete: bool
    at: float
    params: dict[str, str] = Field(default_factory=dict)
    series: tuple[SeriesView, ...] = ()
    left_out: LeftOutView = LeftOutView()
    notes: tuple[str, ...] = ()


class JobMetrics(Message):
    """All that a job told, attempt by attempt."""

    job: str
    attempts: tuple[AttemptMetrics, ...] = ()


class Curve(Message):
    """Points of one series."""

    key: str
    name: str
    source: Source
    unit: str = ""
    count: int
    """Of all that there are."""
    chosen: int
    """Of those in the range that was asked for."""
    reduced: bool
    steps: list[int]
    times: list[float]
    values: list[float | None]
    bad: list[Bad]


class JobCurves(Message):
    job: str
    attempt: int
    axis: str
    series: tuple[Curve, ...] = ()


class WorkerCurve(Curve):
    last: float | None
    min: float | None
    max: float | None
    """In the range that was asked for."""


class WorkerCurves(Message):
    worker: str
    series: tuple[WorkerCurve, ...] = ()


class SparkView(Message):
    job: str
    attempt: int
    key: str
    name: str
    last: float | None
    values: list[float | None]


class SparkList(Message):
    sparks: tuple[SparkView, ...] = ()


DIGITS = re.compile(r"(\d+)")


def in_order(series: Iterable[SeriesHead]) -> list[SeriesHead]:
    """By source, then by name as people count."""
    return sorted(series, key=lambda one: (SOURCES.index(one.source), natural(one.name)))


def natural(name: str) -> list[tuple[bool, int, str]]:
    parts = DIGITS.split(name)
    return [(p.isdecimal(), int(p) if p.isdecimal() else 0, p.lower()) for p in parts]


def series_view(one: SeriesHead) -> SeriesView:
    return SeriesView(
        key=one.key,
        name=one.name,
        source=one.source,
        unit=one.unit,
        count=one.count,
        bad=one.bad,
        last=number(one.last),
        last_bad=bad_word(one.last),
        min=one.low,
        max=one.high,
        first_step=one.first_step,
        last_step=one.last_step,
        first_time=one.first_time,
        last_time=one.last_time,
    )


def attempt_view(attempt: int, head: MetricsHead) -> AttemptMetrics:
    return AttemptMetrics(
        attempt=attempt,
        worker=head.worker,
        complete=head.complete,
        at=head.at,
        params=head.params,
        series=tuple(map(series_view, in_order(head.series))),
        left_out=left_out_view(head.left_out),
        notes=notes(head.left_out),
    )


def left_out_view(out: LeftOut) -> LeftOutView:
    return LeftOutView(series=out.series, points=out.points, params=out.params)


def notes(out: LeftOut) -> tuple[str, ...]:
    """In sentences, what was not kept."""
    told = []
    if out.series:
        told.append(
            f"{out.series:,} points of further series were left out: an attempt has at most "
            f"{MOST_SERIES} of each source"
        )
    if out.points:
        told.append(
            f"{out.points:,} points were left out: too many at once, or beyond {MOST_POINTS:,}"
        )
    if out.params:
        told.append(f"{out.params:,} parameters were left out beyond {MOST_PARAMS}")
    return tuple(told)


def number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def bad_word(value: float) -> str:
    if math.isfinite(value):
        return ""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def columns(points: Points) -> dict[str, object]:
    values: Sequence[float] = points.values
    bad = [] if math.isfinite(sum(values)) else list(enumerate(map(bad_word, values)))
    return {
        "steps": points.steps.tolist(),
        "times": [round(time, 3) for time in points.times],
        "values": [number(value) for value in values] if bad else list(values),
        "bad": [(n, word) for n, word in bad if word],
    }


def curve(one: SeriesHead, points: Points, chosen: int) -> Curve:
    """``points`` are what is drawn of the ``chosen`` ones."""
    told = {
        "key": one.key, "name": one.name, "source": one.source, "unit": one.unit,
        "count": one.count, "chosen": chosen, "reduced": len(points) < chosen,
    }  # fmt: skip
    return Curve.model_validate({**told, **columns(points)})
