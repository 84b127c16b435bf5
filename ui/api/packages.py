"""Which packages did a job run with? ``GET /api/v1/jobs/{job}/packages?attempt=``"""

from __future__ import annotations

from aiohttp import web

from bus.packages import PackageStore
from schemas.job import Record
from ui.api.common import number_of, stored_job
from ui.keys import BUS
from ui.problems import HttpProblem, refuse

MOST_ATTEMPTS = 10**6
NOT_TOLD = "Its worker has not told yet what is installed there, or could not."
NOT_KEPT = "The list was kept, and is not there any more."


async def list_packages(request: web.Request) -> web.Response:
    """As ``pip freeze`` would say it; the newest attempt's that told any, if none is named."""
    record = (await stored_job(request)).record
    digest = digest_of(record, number_of(request, "attempt", 0, 1, MOST_ATTEMPTS))
    if not digest:
        raise missing(NOT_TOLD)
    text = await PackageStore(request.app[BUS]).get(digest)
    if text is None:
        raise missing(NOT_KEPT)
    return web.Response(text=text, headers={"ETag": f'"{digest}"'})


def digest_of(record: Record, number: int) -> str:
    """``number`` 0: of the newest that has one."""
    for attempt in reversed(record.attempts):
        made = attempt.environment
        if number in (0, attempt.number) and made is not None and made.packages:
            return made.packages
    return ""


def missing(detail: str) -> HttpProblem:
    return refuse(404, "no_packages", "Its packages are not known", detail)
