"""How is a .zip sent in parts, so that what was cut goes on where it stopped?

The sender chooses the upload's id and cuts the file every ``UPLOAD_PART`` bytes; a part is stored
whole or not at all, and may be sent again. A job is then submitted with the id and the number of
parts.
"""

from __future__ import annotations

import asyncio
import re

from aiohttp import web

from schemas.tree import scope_of
from ui.admission import who
from ui.api.bodies import body_parts
from ui.api.common import json_answer
from ui.api.pieces import most_of
from ui.api.submitting import UPLOAD_PART, beyond_quota, too_large, upload_slot
from ui.keys import CONFIG, OBJECTS
from ui.problems import refuse
from ui.views import UploadState

MOST_PARTS = 1 << 16
ID = re.compile(r"^[0-9a-f]{32}$")
LOOKS = 32
"""Parts that are looked for at one time."""


async def show_upload(request: web.Request) -> web.Response:
    """How many parts are there, without a gap."""
    name, sent = upload_name(who(request).name, upload_of(request)), 0
    objects = request.app[OBJECTS]
    while sent < MOST_PARTS:
        numbers = range(sent, sent + LOOKS)
        found = await asyncio.gather(
            *(objects.find("uploads", f"{name}.{number}") for number in numbers)
        )
        there = next((n for n, info in enumerate(found) if info is None), LOOKS)
        sent += there
        if there < LOOKS:
            break
    return json_answer(UploadState(parts=sent, part_bytes=UPLOAD_PART))


async def put_part(request: web.Request) -> web.Response:
    name, number = upload_name(who(request).name, upload_of(request)), part_of(request)
    limit = request.app[CONFIG].upload_limit
    if number * UPLOAD_PART >= limit:
        raise too_large(limit)
    async with upload_slot(request.app):
        most = await most_of(request, number * UPLOAD_PART + (request.content_length or 0))
        if most is not None and number * UPLOAD_PART >= most:
            raise beyond_quota(most)
        await request.app[OBJECTS].put(
            "uploads", f"{name}.{number}", body_parts(request, UPLOAD_PART)
        )
    return json_answer(UploadState(parts=number + 1, part_bytes=UPLOAD_PART))


def upload_of(request: web.Request) -> str:
    upload = request.match_info["upload"]
    if not ID.match(upload):
        raise refuse(
            404, "no_such_upload", "There is no such upload", "Its id has 32 hexadecimal digits."
        )
    return upload


def part_of(request: web.Request) -> int:
    text = request.match_info["part"]
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < MOST_PARTS):
        raise refuse(
            422, "bad_part", "The part's number is not valid", f"It is from 0 to {MOST_PARTS - 1}."
        )
    return int(text)


def upload_name(owner: str, upload: str) -> str:
    """Nobody names, or overwrites, what somebody else sent."""
    return f"{scope_of(owner)}-{upload}"
