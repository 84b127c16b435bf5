"""Which workers are there, and how is one drained?"""

from __future__ import annotations

from collections.abc import Set

from aiohttp import web

from bus.clock import server_time
from bus.codec import decode
from bus.errors import Corrupt, NotFound
from bus.kv import Bucket
from schemas.access import Action, may
from schemas.message import Empty
from schemas.requests import Drain
from schemas.worker import Beat, WorkerRecord
from ui.admission import who
from ui.api.common import ask, json_answer, json_body, unknown_worker, worker_of
from ui.keys import BUS, OWNERS
from ui.security import client_address
from ui.views import DrainBody, WorkerList, WorkerView

UNSEEN = {"job": "", "attempt": 0}
"""In place of somebody else's job."""
OFFLINE_SECONDS = 15.0
"""Silence after which a worker is shown as offline."""


async def list_workers(request: web.Request) -> web.Response:
    views = await workers_of(request.app)
    return json_answer(WorkerList(workers=await seen_workers(request, views)))


async def seen_workers(
    request: web.Request, views: tuple[WorkerView, ...]
) -> tuple[WorkerView, ...]:
    """Without the ids of jobs that are not theirs to see; how many there are is no secret."""
    asker = who(request)
    if asker.sees is None:
        return views
    named = {key.job for view in views for key in (*view.beat.held, *view.beat.ends)}
    owners = await request.app[OWNERS].of(sorted(named))
    seen = {job for job, owner in owners.items() if may(asker, Action.SEE_JOB, owner, job)}
    return tuple(view.model_copy(update={"beat": seen_beat(view.beat, seen)}) for view in views)


def seen_beat(beat: Beat, seen: Set[str]) -> Beat:
    held = tuple(one if one.job in seen else one.model_copy(update=UNSEEN) for one in beat.held)
    ends = tuple(one for one in beat.ends if one.job in seen)
    return beat.model_copy(update={"held": held, "ends": ends, "claims": ()})


async def workers_of(app: web.Application) -> tuple[WorkerView, ...]:
    try:
        entries = await Bucket(app[BUS], "workers").all()
    except NotFound:
        return ()
    now = await server_time(app[BUS], "KV_workers")
    views = []
    for name, entry in sorted(entries.items()):
        try:
            views.append(worker_view(name, decode(WorkerRecord, entry.value, None), now))
        except Corrupt:
            continue
    return tuple(views)


def worker_view(name: str, record: WorkerRecord, now: float) -> WorkerView:
    silent = max(0.0, now - record.heard_at)
    return WorkerView(
        name=name,
        online=silent < OFFLINE_SECONDS,
        drain=record.drain or record.beat.draining,
        heard_at=record.heard_at,
        silent=silent,
        aside=record.aside,
        # What lies there tells of others' data.
        beat=record.beat.model_copy(update={"holds": ()}),
    )


async def drain_worker(request: web.Request) -> web.Response:
    name = worker_of(request)
    body = DrainBody.model_validate(await json_body(request))
    message = Drain(
        worker=name, drain=body.drain, by=who(request).name, address=client_address(request)
    )
    await ask(request.app, "scheduler", "drain", message, Empty)
    views = [view for view in await workers_of(request.app) if view.name == name]
    if not views:
        raise unknown_worker(name)
    return json_answer(views[0].model_copy(update={"drain": body.drain}))
