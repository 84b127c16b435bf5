"""How does a bundle become a job? Streamed into the store, then handed to the upload service."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from bus import subjects
from bus.errors import BusError
from schemas.requests import Admit, Admitted, Submit, Submitted
from schemas.spec import JobSpec, read_spec
from schemas.tree import TreeHead, scope_of
from ui.admission import who
from ui.api.common import JSON_BYTES, ask, json_answer, json_body, parse_json
from ui.api.data import with_data
from ui.api.kept_secrets import like_of, with_kept
from ui.api.resuming import with_resumed
from ui.keys import BUS, CONFIG, OBJECTS, SENT, UPLOADS
from ui.problems import HttpProblem, refuse
from ui.security import client_address
from ui.views import JobAnswer, JobView, StoredSubmission, job_json

log = logging.getLogger(__name__)

READ_BYTES = 512 * 1024
"""aiohttp's multipart reader is slow in small steps."""
STALL_SECONDS = 60.0
"""An upload that sends nothing for this long is given up."""
CHECK_SECONDS = 20.0
"""Patience with the check of an empty bundle; more bytes, more patience."""
CHECK_BYTES_A_SECOND = 8 * 1024 * 1024
KEY = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
FORM_OVERHEAD = 1024 * 1024
UPLOAD_PART = 8 * 1024 * 1024
"""Bytes of a part of a .zip that is sent in parts."""
BROKEN_FORM = (ValueError, AssertionError, ConnectionError, HttpProcessingError)
"""What aiohttp makes of a form that is none."""


@dataclass(frozen=True)
class Upload:
    """A raw .zip in the bucket ``uploads``."""

    name: str
    size: int


async def create_job(request: web.Request) -> web.Response:
    """``multipart/form-data`` with ``spec`` and ``bundle`` in any order, or JSON."""
    key = idempotency_key(request)
    if request.content_type == "multipart/form-data":
        return await create_from_upload(request, key)
    if request.content_type == "application/json":
        return await create_from_stored(request, key)
    raise refuse(
        415,
        "unsupported_body",
        "This kind of body is not taken",
        "Send multipart/form-data with the parts spec and bundle, or JSON with spec and bundle.",
    )


async def asked_spec(request: web.Request, values: dict[str, Any]) -> JobSpec:
    """What was asked for, with what only the server has. Raises the problem with it."""
    spec = await with_resumed(request, await with_kept(request, read_spec(values)))
    return await with_data(request, spec)


async def create_from_stored(request: web.Request, key: str) -> web.Response:
    """What the job is made of was sent before."""
    body = await json_body(request)
    spec = await asked_spec(request, as_dict(body.get("spec", {})))
    stored = StoredSubmission.model_validate({**body, "spec": spec})
    owner = who(request).name
    tree = tree_head(stored)
    message = Submit(
        owner=owner,
        key=key,
        spec=stored.spec,
        bundle=stored.bundle,
        tree=tree,
        upload=stored.upload and f"{scope_of(owner)}-{stored.upload}",
        parts=stored.parts,
        like=await like_of(request),
        address=client_address(request),
    )
    size = tree.size if tree else stored.parts * UPLOAD_PART
    submitted = await submit(request.app, message, size)
    if tree is not None:
        request.app[SENT].submitted(owner)
    return submitted_answer(submitted)


def tree_head(stored: StoredSubmission) -> TreeHead | None:
    if stored.tree is None:
        return None
    return TreeHead(chunks=bytes.fromhex(stored.tree.chunks), size=stored.tree.size)


def as_dict(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise refuse(422, "invalid_spec", "The job's spec is not valid", "spec: is no object.")
    return value


async def create_from_upload(request: web.Request, key: str) -> web.Response:
    limit, owner = request.app[CONFIG].upload_limit, who(request).name
    if (request.content_length or 0) > limit + FORM_OVERHEAD:
        raise too_large(limit)
    admitted = await admit(request, owner, key)
    if admitted.earlier is not None:
        return submitted_answer(admitted.earlier)
    like = await like_of(request)
    async with upload_slot(request.app):
        spec, upload = await read_form(request, admitted.most)
        message = Submit(
            owner=owner,
            key=key,
            spec=spec,
            upload=upload.name,
            like=like,
            address=client_address(request),
        )
        try:
            submitted = await submit(request.app, message, upload.size)
        except BaseException:
            await discard(request.app, upload.name)
            raise
    return submitted_answer(submitted)


async def admit(request: web.Request, owner: str, key: str) -> Admitted:
    """Asked where there is something to save: a small body is read and judged in one go."""
    length = request.content_length
    if length is not None and length <= FORM_OVERHEAD:
        return Admitted()
    question = Admit(owner=owner, key=key, size=max(0, (length or 0) - FORM_OVERHEAD))
    return await ask(request.app, "upload", "admit", question, Admitted)


@asynccontextmanager
async def upload_slot(app: web.Application) -> AsyncIterator[None]:
    slots = app[UPLOADS]
    if slots.locked():
        raise refuse(
            503, "too_many_uploads", "Too many uploads at one time", "Try again in a moment."
        )
    async with slots:
        yield


async def read_form(request: web.Request, most: int | None) -> tuple[JobSpec, Upload]:
    """Streams the bundle into the store; a bad spec is told before it where it comes first.

    ``most`` bytes are those of the owner's quota.
    """
    spec: JobSpec | None = None
    upload: Upload | None = None
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise bad_form("a part of the form is a form itself")
            if part.name == "spec":
                spec = await asked_spec(
                    request, parse_json(await small_part(part), "the part spec")
                )
            elif part.name == "bundle" and upload is None:
                upload = await store_part(request.app, part, most)
            else:
                raise bad_form(f"there is no use for the part {part.name!r}")
    except BROKEN_FORM as error:
        await discard(request.app, upload.name if upload else None)
        raise form_problem(error) from error
    except BaseException:
        await discard(request.app, upload.name if upload else None)
        raise
    if upload is None:
        raise bad_form("the part bundle is missing")
    return spec if spec is not None else read_spec({}), upload


def form_problem(error: Exception) -> Exception:
    """A refusal of ours stays what it is."""
    if hasattr(error, "problem"):
        return error
    headers = isinstance(error, HttpProcessingError)
    return bad_form("the headers of a part cannot be read" if headers else str(error))


def bad_form(detail: str) -> HttpProblem:
    return refuse(422, "bad_form", "The form is not valid", f"{detail or 'it ends too early'}.")


async def small_part(part: BodyPartReader) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(64 * 1024):
        data += chunk
        if len(data) > JSON_BYTES:
            raise refuse(413, "body_too_large", "The spec is too large", "A spec is small.")
    return bytes(data)


async def store_part(app: web.Application, part: BodyPartReader, most: int | None) -> Upload:
    name = secrets.token_hex(16)
    info = await app[OBJECTS].put(
        "uploads", name, part_chunks(part, app[CONFIG].upload_limit, most)
    )
    return Upload(name, info.size)


async def part_chunks(
    part: BodyPartReader, limit: int, most: int | None = None
) -> AsyncIterator[bytes]:
    """As they come; the first beyond the server's limit or the quota is refused."""
    size = 0
    while True:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                chunk = await part.read_chunk(READ_BYTES)
        except TimeoutError:
            raise refuse(
                408, "stalled", "The upload stalled", "No bytes came; try again."
            ) from None
        if not chunk:
            return
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        if most is not None and size > most:
            raise beyond_quota(most)
        yield chunk


def too_large(limit: int) -> HttpProblem:
    return refuse(
        413,
        "bundle_too_large",
        "The bundle is too large",
        f"At most {limit / (1 << 20):,.0f} MiB are taken; leave out data and checkpoints.",
    )


def beyond_quota(most: int) -> HttpProblem:
    return refuse(
        413,
        "quota_upload",
        "This is more than your quota",
        f"Your limit is {most:,} bytes for one upload; leave out data and checkpoints.",
    )


async def submit(app: web.Application, message: Submit, size: int = 0) -> Submitted:
    """The upload service checks and stores; the key makes a repeated try safe."""
    timeout = CHECK_SECONDS + size / CHECK_BYTES_A_SECOND
    subject = subjects.request("upload", "submit")
    return await app[BUS].request(subject, message, Submitted, timeout=timeout, attempts=3)


async def discard(app: web.Application, name: str | None) -> None:
    """A refused upload does not stay; a sweep takes what slips through here."""
    if name is None:
        return
    try:
        async with asyncio.timeout(5):
            await app[OBJECTS].delete("uploads", name)
    except (BusError, TimeoutError) as error:
        log.info("a refused upload stays until the sweep: %s", error)


def idempotency_key(request: web.Request) -> str:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return secrets.token_hex(16)
    if not KEY.match(key):
        raise refuse(
            422,
            "bad_key",
            "The Idempotency-Key is not valid",
            "Use 1 to 64 letters, digits, '-' and '_'.",
        )
    return key


def submitted_answer(submitted: Submitted) -> web.Response:
    """201 for a new job, 200 where the key had been used."""
    view = JobView.model_validate(job_json(submitted.record))
    answer = JobAnswer(job=view, notes=submitted.notes)
    response = json_answer(answer, 201 if submitted.created else 200)
    response.headers["Location"] = f"/api/v1/jobs/{submitted.record.id}"
    return response
