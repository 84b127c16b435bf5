"""Which small curve stands beside each job of a list?"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

from aiohttp import web

from bus.metric_store import MetricStore, StoredMetrics
from schemas.access import Action, may
from schemas.ids import JOB_ID
from ui.admission import who
from ui.api.common import json_answer
from ui.keys import METRICS, OWNERS, SPARKS
from ui.metric_curves import evenly
from ui.metric_views import SparkList, SparkView, number
from ui.problems import refuse

MOST_JOBS = 100
MOST_VALUES = 40
HOLDS = 2.0
"""Seconds for which one is believed: many look at the same list."""
REMEMBERED = 2000
AT_ONCE = 16


class Sparks:
    """Those that were asked for lately."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, SparkView | None]] = OrderedDict()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def of(self, store: MetricStore, job: str) -> SparkView | None:
        known = self._known.get(job)
        if known is not None and time.monotonic() - known[0] < HOLDS:
            return known[1]
        async with self._room:
            stored = await store.newest(job)
        view = spark_view(stored) if stored else None
        self._known[job] = (time.monotonic(), view)
        self._known.move_to_end(job)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return view


async def list_sparks(request: web.Request) -> web.Response:
    jobs = list(dict.fromkeys(request.query.getall("job", [])))
    if len(jobs) > MOST_JOBS or not all(map(JOB_ID.match, jobs)):
        detail = f"Name at most {MOST_JOBS} jobs by their ids."
        raise refuse(422, "bad_query", "job is not valid", detail)
    asker = who(request)
    owners = await request.app[OWNERS].of(sorted(jobs))
    seen = [job for job in jobs if job in owners and may(asker, Action.SEE_JOB, owners[job], job)]
    sparks, store = request.app[SPARKS], request.app[METRICS].store
    found = await asyncio.gather(*(sparks.of(store, job) for job in seen))
    return json_answer(SparkList(sparks=tuple(one for one in found if one)))


def spark_view(stored: StoredMetrics) -> SparkView | None:
    """None where nothing was told that is drawn."""
    spark = stored.head.spark
    if spark is None:
        return None
    series = next(
        (one for one in stored.head.series if (one.source, one.name) == (spark.source, spark.name)),
        None,
    )
    if series is None:
        return None
    values = evenly(spark.values, MOST_VALUES - 1)
    if (spark.seen - 1) % spark.stride:
        values.append(series.last)
    return SparkView(
        job=stored.place.job,
        attempt=stored.place.attempt,
        key=series.key,
        name=series.name,
        last=number(series.last),
        values=[number(value) for value in values],
    )
