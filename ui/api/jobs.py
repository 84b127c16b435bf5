"""How are jobs listed, shown, cancelled and repeated over HTTP?"""

from __future__ import annotations

import asyncio

from aiohttp import web

from bus import subjects
from bus.errors import BusError
from schemas.ids import JOB_ID
from schemas.job import Record, State
from schemas.requests import (
    Cancel,
    CancelAnswer,
    Explain,
    Explanation,
    JobList,
    ListJobs,
    Submit,
)
from ui.admission import who
from ui.api.common import ask, json_answer, number_of, stored_job
from ui.api.data import with_data
from ui.api.resuming import source_of
from ui.api.submitting import idempotency_key, submit, submitted_answer
from ui.keys import BUS
from ui.problems import refuse
from ui.security import client_address
from ui.views import JobAnswer, JobView, job_json

EXPLAIN_SECONDS = 1.0
LIST_LIMIT = 500


async def list_jobs(request: web.Request) -> web.Response:
    query = request.query
    before = query.get("before")
    if before is not None and not JOB_ID.match(before):
        raise refuse(422, "bad_query", "before is not valid", "before must be the id of a job.")
    message = ListJobs(
        state=states(query.getall("state", [])),
        pool=query.get("pool") or None,
        owners=who(request).sees,
        text=query.get("text", "")[:200],
        before=before,
        limit=number_of(request, "limit", 100, 1, LIST_LIMIT),
    )
    return json_answer(await ask(request.app, "catalog", "list", message, JobList))


def states(values: list[str]) -> tuple[State, ...]:
    """``state=running&state=failed`` as well as ``state=running,failed``."""
    words = [word for value in values for word in value.split(",") if word]
    try:
        return tuple(State(word) for word in words)
    except ValueError:
        known = ", ".join(State)
        raise refuse(
            422, "bad_query", "state is not valid", f"state must be of: {known}."
        ) from None


async def show_job(request: web.Request) -> web.Response:
    record = (await stored_job(request)).record
    return json_answer(job_answer(record, await explanation_of(request.app, record)))


async def explanation_of(app: web.Application, record: Record) -> Explanation | None:
    """Why the job does not run yet; None where it does, or where nobody knows right now."""
    if record.state not in (State.WAITING, State.QUEUED):
        return None
    subject = subjects.request("scheduler", "explain")
    message = Explain(job=record.id)
    try:
        async with asyncio.timeout(EXPLAIN_SECONDS):
            told = await app[BUS].request(
                subject, message, Explanation, timeout=EXPLAIN_SECONDS, attempts=1
            )
    except (BusError, TimeoutError):
        return None
    return told if told.text else None


def job_answer(record: Record, explanation: Explanation | None = None) -> JobAnswer:
    return JobAnswer(job=JobView.model_validate(job_json(record)), explanation=explanation)


async def cancel_job(request: web.Request) -> web.Response:
    job = (await stored_job(request)).record.id
    message = Cancel(job=job, by=who(request).name, address=client_address(request))
    answer = await ask(request.app, "scheduler", "cancel", message, CancelAnswer)
    return json_answer(job_answer(answer.record))


async def retry_job(request: web.Request) -> web.Response:
    record = (await stored_job(request)).record
    spec = await with_data(request, record.spec)
    if request.query.get("resume") == "1":
        spec = spec.model_copy(update={"resume": await source_of(request.app, record)})
    message = Submit(
        owner=who(request).name,
        key=idempotency_key(request),
        spec=spec,
        bundle=record.bundle,
        retry_of=record.id,
        pin=record.pin,
        address=client_address(request),
    )
    return submitted_answer(await submit(request.app, message))
