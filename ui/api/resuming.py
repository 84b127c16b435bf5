"""What is a job's last checkpoint, and from which one does a new job begin?"""

from __future__ import annotations

from aiohttp import web

from bus.checkpoints import CheckpointStore
from schemas.access import Action
from schemas.job import Record
from schemas.message import Message
from schemas.spec import JobSpec
from ui.api.common import json_answer, stored_job
from ui.api.kept_secrets import seen
from ui.keys import BUS
from ui.problems import refuse


class CheckpointView(Message):
    """The last whole checkpoint of a job."""

    attempt: int
    """That wrote it."""
    worker: str
    at: float
    """Unix seconds at which it was stored."""
    files: int
    size: int
    """Bytes of all files."""


class CheckpointAnswer(Message):
    """What a job would go on from; nothing where it has no checkpoint of its own."""

    checkpoint: CheckpointView | None = None


async def show_checkpoint(request: web.Request) -> web.Response:
    job = (await stored_job(request)).record.id
    found = await CheckpointStore(request.app[BUS]).last(job)
    if found is None:
        return json_answer(CheckpointAnswer())
    head = found.head
    view = CheckpointView(
        attempt=head.attempt, worker=head.worker, at=head.at, files=head.files, size=head.total
    )
    return json_answer(CheckpointAnswer(checkpoint=view))


async def with_resumed(request: web.Request, spec: JobSpec) -> JobSpec:
    """The spec as it may be submitted: whoever sees a job may begin from what it left."""
    if spec.resume is None:
        return spec
    former = await seen(request, spec.resume, Action.SEE_JOB)
    return spec.model_copy(update={"resume": await source_of(request.app, former)})


async def source_of(app: web.Application, former: Record) -> str:
    """The job that has the checkpoint: one that never wrote any passes on what it began from."""
    store = CheckpointStore(app[BUS])
    for job in (former.id, former.spec.resume):
        if job and await store.last(job) is not None:
            return job
    raise refuse(
        422,
        "no_checkpoint",
        "There is no checkpoint",
        f"Job {former.id} has no checkpoint to begin from: its program left none in"
        " $STOKER_CHECKPOINTS, or it ended too long ago.",
    )
