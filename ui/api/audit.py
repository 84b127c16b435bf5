"""What did people do, newest first?"""

from __future__ import annotations

import time

from aiohttp import web

from bus.audit_pages import Wanted, audit_page
from schemas.audit import Deed
from ui.api.common import json_answer, number_of
from ui.keys import BUS
from ui.problems import HttpProblem, refuse
from ui.windows import BadWindow, read_time

MOST = 500
LONGEST = 256
"""Characters of a filter."""
LATEST = 1 << 62
"""The last sequence that a stream could have."""


async def list_audit(request: web.Request) -> web.Response:
    return json_answer(await audit_page(request.app[BUS], wanted(request)))


def wanted(request: web.Request) -> Wanted:
    query = request.query
    return Wanted(
        who=text_of(request, "who"),
        deeds=deeds(query.getall("deed", [])),
        target=text_of(request, "target"),
        since=time_of(request, "since"),
        until=time_of(request, "until"),
        before=sequence_of(request, "before"),
        after=sequence_of(request, "after"),
        limit=number_of(request, "limit", 100, 1, MOST),
    )


def deeds(values: list[str]) -> tuple[Deed, ...]:
    """``deed=submit&deed=cancel`` as well as ``deed=submit,cancel``."""
    words = dict.fromkeys(word for value in values for word in value.split(",") if word)
    try:
        return tuple(Deed(word) for word in words)
    except ValueError:
        raise bad_query("deed", f"must be of: {', '.join(Deed)}") from None


def text_of(request: web.Request, name: str) -> str:
    text = request.query.get(name, "")
    if len(text) > LONGEST:
        raise bad_query(name, f"has at most {LONGEST} characters")
    return text


def time_of(request: web.Request, name: str) -> float | None:
    text = request.query.get(name)
    if not text:
        return None
    try:
        return read_time(text, time.time())
    except BadWindow as error:
        raise bad_query(name, f"is not understood: {error}") from None


def sequence_of(request: web.Request, name: str) -> int | None:
    return number_of(request, name, 0, 0, LATEST) if name in request.query else None


def bad_query(name: str, why: str) -> HttpProblem:
    return refuse(422, "bad_query", f"{name} is not valid", f"{name} {why}.")
