"""How are a job's metrics, and a worker's, read over HTTP?"""

from __future__ import annotations

import asyncio
import difflib
import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from aiohttp import web

from bus.kv import Bucket
from bus.metric_blocks import Series
from bus.metric_store import StoredMetrics
from bus.metrics import Place
from schemas.metric_head import MetricsHead, SeriesHead
from schemas.metrics import Points, Source
from ui.api.common import json_answer, number_of, stored_job, unknown_worker, worker_of
from ui.gate import Gate
from ui.keys import BUS, CURVES_GATE, METRICS
from ui.metric_curves import Axis, ordered, reduced, within
from ui.metric_views import (
    Curve,
    JobCurves,
    JobMetrics,
    WorkerCurve,
    WorkerCurves,
    attempt_view,
    curve,
    in_order,
)
from ui.problems import HttpProblem, refuse

LEAST_POINTS, USUAL_POINTS, MOST_POINTS = 5, 1000, 4000
MOST_SERIES = 100
"""In one answer."""
DAY = 86_400.0
NEAREST = 3
SOURCES = {source.value: source for source in Source}
T = TypeVar("T")


def curves_gate() -> Gate:
    """Each may hold some 100 MB."""
    return Gate(2, 64, "charts")


async def list_metrics(request: web.Request) -> web.Response:
    job = (await stored_job(request)).record.id
    stored = await request.app[METRICS].store.attempts(job)
    views = [attempt_view(one.place.attempt, one.head) for one in stored if one.head.anything]
    return json_answer(JobMetrics(job=job, attempts=tuple(views)))


async def metric_points(request: web.Request) -> web.Response:
    stored = await chosen_attempt(request)
    heads = chosen_series(request, stored.head)
    axis = axis_of(request)
    most = number_of(request, "points", USUAL_POINTS, LEAST_POINTS, MOST_POINTS)
    low, high = number_in(request, "from"), number_in(request, "to")
    since = low if low is not None and axis is Axis.TIME else 0.0

    def drawn(one: SeriesHead, points: Points) -> Curve:
        inside = within(ordered(points, axis), axis, low, high)
        return curve(one, reduced(inside, axis, most), len(inside))

    curves = await all_drawn(request, stored, heads, since, drawn)
    return json_answer(
        JobCurves(
            job=stored.place.job, attempt=stored.place.attempt, axis=axis, series=tuple(curves)
        )
    )


async def all_drawn(
    request: web.Request,
    stored: StoredMetrics,
    heads: list[SeriesHead],
    since: float,
    draw: Callable[[SeriesHead, Points], T],
) -> list[T]:
    async with request.app[CURVES_GATE].passed():
        keys = {(one.source, one.name) for one in heads}
        newer, batch = await request.app[METRICS].points(stored, keys, since)

        def draw_all() -> list[T]:
            drawn = []
            for one in heads:
                head = newer.head.find(one.key) or one
                drawn.append(draw(head, batch.pop((one.source, one.name), Points())))
            return drawn

        return await asyncio.to_thread(draw_all)


async def worker_metrics(request: web.Request) -> web.Response:
    worker = worker_of(request)
    stored = await request.app[METRICS].store.get(Place.of_worker(worker))
    if stored is None:
        if await Bucket(request.app[BUS], "workers").get(worker) is None:
            raise unknown_worker(worker)
        return json_answer(WorkerCurves(worker=worker))
    heads = chosen_series(request, stored.head, all_if_none=True)
    most = number_of(request, "points", USUAL_POINTS, LEAST_POINTS, MOST_POINTS)
    low, high = number_in(request, "from"), number_in(request, "to")
    since = max(low or 0.0, stored.head.at - DAY)

    def drawn(one: SeriesHead, points: Points) -> WorkerCurve:
        inside = within(ordered(points, Axis.TIME), Axis.TIME, since, high)
        return of_worker(curve(one, reduced(inside, Axis.TIME, most), len(inside)), inside)

    curves = await all_drawn(request, stored, heads, since, drawn)
    return json_answer(WorkerCurves(worker=worker, series=tuple(curves)))


def of_worker(drawn: Curve, points: Points) -> WorkerCurve:
    good = [value for value in points.values if math.isfinite(value)]
    return WorkerCurve(
        **drawn.model_dump(),
        last=good[-1] if good else None,
        min=min(good, default=None),
        max=max(good, default=None),
    )


# ---- what was asked for


async def chosen_attempt(request: web.Request) -> StoredMetrics:
    """The attempt that is asked for, else the newest that has metrics."""
    record = (await stored_job(request)).record
    number = number_of(request, "attempt", 0, 0, 1_000_000)
    store = request.app[METRICS].store
    if number:
        found = await store.get(Place.of(record.id, number))
    else:
        found = next((one for one in reversed(await store.attempts(record.id))), None)
    if found is None or not found.head.anything:
        raise refuse(404, "no_metrics", "There are no metrics", "Nothing was measured by now.")
    return found


def chosen_series(
    request: web.Request, head: MetricsHead, *, all_if_none: bool = False
) -> list[SeriesHead]:
    wanted = list(dict.fromkeys(request.query.getall("series", [])))
    if not wanted and all_if_none:
        return in_order(head.series)[:MOST_SERIES]
    if not 0 < len(wanted) <= MOST_SERIES:
        detail = f"Name 1 to {MOST_SERIES} series, such as series=log:loss."
        raise refuse(422, "bad_query", "series is not valid", detail)
    return [series_of(head, key) for key in wanted]


def series_of(head: MetricsHead, key: str) -> SeriesHead:
    """By its key, or by its name alone: the first that has it."""
    source = key.partition(":")[0]
    if source in SOURCES:
        found = head.find(key)
        if found is not None:
            return found
    for one in in_order(head.series):
        if one.name == key:
            return one
    raise unknown_series(key, [one.key for one in head.series])


def unknown_series(key: str, known: Iterable[str]) -> HttpProblem:
    near = difflib.get_close_matches(key[:200], list(known)[:MOST_SERIES], NEAREST, 0.5)
    told = f"There is no series {key[:200]!r}"
    detail = f"{told}; near it: {', '.join(near)}." if near else f"{told}."
    return refuse(404, "unknown_series", "There is no such series", detail)


def keys_of(request: web.Request, head: MetricsHead) -> set[Series] | None:
    """None for all."""
    if not request.query.getall("series", []):
        return None
    return {(one.source, one.name) for one in chosen_series(request, head)}


def axis_of(request: web.Request) -> Axis:
    try:
        return Axis(request.query.get("axis", Axis.STEP.value))
    except ValueError:
        raise refuse(422, "bad_query", "axis is not valid", "axis must be step or time.") from None


def number_in(request: web.Request, name: str) -> float | None:
    text = request.query.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise refuse(422, "bad_query", f"{name} is not valid", f"{name} must be a number.")
    return value
