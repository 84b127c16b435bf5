"""Which sample jobs can be started by one click?"""

from __future__ import annotations

import ast
import asyncio
import io
import secrets
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from schemas.requests import Submit
from schemas.spec import JobSpec
from ui.admission import who
from ui.api.common import json_answer
from ui.api.submitting import READ_BYTES, discard, idempotency_key, submit, submitted_answer
from ui.keys import CONFIG, OBJECTS
from ui.problems import refuse
from ui.security import client_address
from ui.views import Sample, SampleList

ENTRY = "main.py"
FIRST = "digits"
"""The sample that the button on the page starts."""
LEFT_OUT = ("__pycache__", "outputs", ".venv", ".git")
FIXED_TIME = (2024, 1, 1, 0, 0, 0)


async def list_samples(request: web.Request) -> web.Response:
    found = await asyncio.to_thread(samples_in, request.app[CONFIG].examples)
    return json_answer(SampleList(samples=found))


def samples_in(folder: Path) -> tuple[Sample, ...]:
    if not folder.is_dir():
        return ()
    names = [path.parent.name for path in folder.glob(f"*/{ENTRY}")]
    names.sort(key=lambda name: (name != FIRST, name))
    return tuple(Sample(name=name, title=name, text=text_of(folder / name)) for name in names)


def text_of(sample: Path) -> str:
    """The first line of the entry file's docstring."""
    try:
        text = ast.get_docstring(ast.parse((sample / ENTRY).read_bytes())) or ""
    except (SyntaxError, ValueError):
        return ""
    return text.split("\n", 1)[0]


async def run_sample(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    config = request.app[CONFIG]
    if name not in {sample.name for sample in samples_in(config.examples)}:
        raise refuse(404, "unknown_sample", "There is no such sample", f"No sample {name[:64]!r}.")
    data = await asyncio.to_thread(zipped, config.examples / name)
    upload = secrets.token_hex(16)
    await request.app[OBJECTS].put("uploads", upload, chunks_of(data))
    message = Submit(
        owner=who(request).name,
        key=idempotency_key(request),
        spec=JobSpec(name=name, entry=ENTRY),
        upload=upload,
        address=client_address(request),
    )
    try:
        submitted = await submit(request.app, message, len(data))
    except BaseException:
        await discard(request.app, upload)
        raise
    return submitted_answer(submitted)


def zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not set(name.parts) & set(LEFT_OUT):
                info = zipfile.ZipInfo(name.as_posix(), FIXED_TIME)
                info.external_attr = 0o644 << 16
                archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), READ_BYTES):
        yield data[start : start + READ_BYTES]
