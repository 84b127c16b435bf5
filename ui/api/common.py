"""What do the handlers share?"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel

from bus import subjects
from bus.errors import NotFound
from bus.records import Stored
from schemas.ids import JOB_ID, NAME_TOKEN
from schemas.message import Message
from ui.admission import check_job
from ui.keys import BUS, CONFIG, RECORDS
from ui.problems import HttpProblem, refuse, unknown_job

JSON_BYTES = 512 * 1024
"""Longest JSON body: arguments and environment are at most 128 KiB of it."""

T = TypeVar("T", bound=Message)


def job_of(request: web.Request) -> str:
    """The job id of the path; it goes into subjects, so its form is checked first."""
    job = request.match_info["job"]
    if not JOB_ID.match(job):
        raise unknown_job(job)
    return job


def worker_of(request: web.Request) -> str:
    worker = request.match_info["worker"]
    if not NAME_TOKEN.match(worker):
        raise unknown_worker(worker)
    return worker


def unknown_worker(worker: str) -> HttpProblem:
    detail = f"There is no worker {worker[:64]!r}."
    return refuse(404, "unknown_worker", "There is no such worker", detail)


async def stored_job(request: web.Request) -> Stored:
    """The job of the path, where who asks may do with it what the address is for."""
    job = job_of(request)
    try:
        stored = await request.app[RECORDS].get(job)
    except NotFound:
        raise unknown_job(job) from None
    check_job(request, stored.record)
    return stored


async def ask(
    app: web.Application, service: str, verb: str, message: Message, answer: type[T]
) -> T:
    """One request to a service, with the usual patience."""
    timeout = app[CONFIG].request_timeout
    subject = subjects.request(service, verb)
    return await app[BUS].request(subject, message, answer, timeout=timeout)


async def json_body(request: web.Request) -> dict[str, Any]:
    if (request.content_length or 0) > JSON_BYTES:
        raise refuse(413, "body_too_large", "The request is too large", "A spec is small.")
    body = bytearray()
    async for chunk in request.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > JSON_BYTES:
            raise refuse(413, "body_too_large", "The request is too large", "A spec is small.")
    return parse_json(bytes(body), "the body")


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
        if not data.isascii() or b"\\u" in data:
            # Half of a character can be written in JSON, and nowhere else.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise refuse(422, "not_json", "This is not JSON", f"{what} is not JSON.") from None
    if not isinstance(value, dict):
        raise refuse(422, "not_json", "This is not a JSON object", f"{what} is not an object.")
    return value


def json_answer(value: BaseModel, status: int = 200) -> web.Response:
    return web.Response(
        body=value.model_dump_json().encode(), status=status, content_type="application/json"
    )


def number_of(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    short = len(text) <= len(str(high))
    if not (text.isascii() and text.isdigit() and short and low <= int(text) <= high):
        raise refuse(
            422, "bad_query", f"{name} is not valid", f"{name} must be from {low} to {high}."
        )
    return int(text)
