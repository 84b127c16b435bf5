"""How does a copy of a shown spec get back the values that are not shown?

``?like=JOB`` names the job that it was copied from. A value that is still the mask stands for that
job's own, and never leaves the server.
"""

from __future__ import annotations

from aiohttp import web

from bus.errors import NotFound
from schemas.access import Action, may
from schemas.ids import JOB_ID
from schemas.job import Record
from schemas.secret_names import MASK, is_secret, still_masked
from schemas.spec import JobSpec
from ui.admission import who
from ui.keys import RECORDS
from ui.problems import HttpProblem, refuse, unknown_job


async def with_kept(request: web.Request, spec: JobSpec) -> JobSpec:
    names = still_masked(spec.environment)
    if not names:
        return spec
    known = await secrets_of(request, request.query.get("like", ""))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise not_given(unknown[0])
    kept = {name: known[name] for name in names}
    return spec.model_copy(update={"environment": {**spec.environment, **kept}})


async def like_of(request: web.Request) -> str | None:
    """The job that ``?like=`` names, which the asker must be able to see."""
    job = request.query.get("like", "")
    return (await seen(request, job, Action.SEE_JOB)).id if job else None


async def seen(request: web.Request, job: str, action: Action) -> Record:
    if not JOB_ID.match(job):
        raise unknown_job(job)
    try:
        record = (await request.app[RECORDS].get(job)).record
    except NotFound:
        raise unknown_job(job) from None
    if not may(who(request), action, record.owner, job):
        raise unknown_job(job)
    return record


async def secrets_of(request: web.Request, job: str) -> dict[str, str]:
    if not job:
        return {}
    # To see it by a link is not enough: whoever submits code can have it print the values.
    environment = (await seen(request, job, Action.SUBMIT)).spec.environment
    return {name: value for name, value in environment.items() if is_secret(name, value)}


def not_given(name: str) -> HttpProblem:
    return refuse(
        422,
        "invalid_spec",
        "The job's spec is not valid",
        f"environment: the value of {name} is {MASK}, which is what is shown in place of a secret;"
        " give it anew, or name with ?like=JOB the job that has it.",
    )
