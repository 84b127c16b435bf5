"""How does a failure reach the browser? Always as one problem, never as a traceback."""

from __future__ import annotations

import json
import logging
import math
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import ValidationError

from bus.errors import BusError, NotFound, Refused, StoreFull, Unanswered
from schemas.problem import Problem
from schemas.spec import InvalidSpec

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = "2"
"""What a 503 tells the client to wait."""


class HttpProblem(Exception):
    """A handler refuses a request; ``problem`` says what to change."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem


def refuse(status: int, code: str, title: str, detail: str = "") -> HttpProblem:
    return HttpProblem(Problem(code=code, title=title, status=status, detail=detail))


def unknown_job(job: str) -> HttpProblem:
    return refuse(404, "unknown_job", "There is no such job", f"There is no job {job[:64]!r}.")


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into ``application/problem+json``."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return problem_response(problem_of_http(error), error.headers.get("Allow"))
    except Exception as error:
        problem = problem_of(error)
        if problem.status == 500:
            log.exception("%s %s failed", request.method, request.path)
        elif problem.status > 500:
            log.warning("%s %s: %s", request.method, request.path, error)
        return problem_response(problem)


def problem_of(error: Exception) -> Problem:
    match error:
        case HttpProblem(problem=problem) | InvalidSpec(problem=problem) | Refused(problem=problem):
            return problem
        case StoreFull():
            return Problem(
                code="store_full",
                title="The store is full",
                status=507,
                detail="Free some disk space or raise the store's limit, then try again.",
            )
        case NotFound():
            return Problem(code="not_found", title="There is no such thing", status=404)
        case Unanswered() | BusError() | TimeoutError():
            return Problem(
                code="unavailable",
                title="Stoker does not answer right now",
                status=503,
                detail="The service behind this page did not answer in time; try again.",
            )
        case ValidationError():
            return Problem(
                code="invalid",
                title="The request is not valid",
                status=422,
                detail=validation_sentence(error),
            )
        case _:
            return Problem(
                code="internal",
                title="Something broke inside Stoker",
                status=500,
                detail="The server's log says what.",
            )


def validation_sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "body"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"


def problem_of_http(error: web.HTTPException) -> Problem:
    phrase = HTTPStatus(error.status).phrase
    code = phrase.lower().replace(" ", "_")
    details = {404: "Nothing is at this address.", 405: "This address does not take that method."}
    return Problem(
        code=code, title=phrase, status=error.status, detail=details.get(error.status, "")
    )


def problem_response(problem: Problem, allow: str | None = None) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if allow:
        headers["Allow"] = allow
    if problem.status == 503:
        headers["Retry-After"] = RETRY_SECONDS
    if problem.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(problem.retry_after))
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        status=problem.status,
        body=json.dumps(problem_body(problem)).encode(),
        content_type=CONTENT_TYPE,
        headers=headers,
    )


def problem_body(problem: Problem) -> dict[str, object]:
    return {"type": f"urn:stoker:problem:{problem.code}", **problem.model_dump(exclude_none=True)}
