"""How fast is 1 GiB taken in through the page's API, and does any process grow by it?"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.processes import MEBIBYTE, watched_growth
from benchmarks.stack import running_stack
from benchmarks.table import RESULTS, Figure

SIZE = 1 << 30
MEGABYTE = 1_000_000
TRANSFER_BAR = 60.0
ACCEPTED_BAR = 25.0
"""Megabytes a second."""
GROWTH_BAR = 64.0
"""MiB of any one process."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds from the first byte sent."""

    sent: float
    accepted: float


async def one_gibibyte() -> list[Figure]:
    path = await asyncio.to_thread(big_zip)
    size = path.stat().st_size / MEGABYTE
    async with running_stack("dummy") as stack:
        await stack.stored()
        async with watched_growth(stack.processes()) as growth:
            taken = await asyncio.to_thread(post_file, stack.url, path, stack.token)
    name, grown = growth.worst()
    return [
        Figure("upload 1 GiB: transfer", size / taken.sent, "MB/s", TRANSFER_BAR, at_most=False),
        Figure(
            "upload 1 GiB: checked, repacked, accepted",
            size / taken.accepted,
            "MB/s",
            ACCEPTED_BAR,
            at_most=False,
            note=f"{taken.accepted:.1f} s in all",
        ),
        Figure(
            "upload 1 GiB: growth of the worst process",
            grown / MEBIBYTE,
            "MiB",
            GROWTH_BAR,
            note=growth.told() or name,
        ),
    ]


def big_zip(folder: Path = RESULTS, size: int = SIZE) -> Path:
    """A deflated zip of that size, three quarters of it noise; made once and kept."""
    path = folder / f"{size >> 20}-mib.zip"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    block = 16 * MEBIBYTE
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("main.py", "print(1)\n")
        number = 0
        while part.stat().st_size < size - block:
            with archive.open(f"data/{number:04}.bin", "w") as out:
                out.write(os.urandom(3 * block // 4))
                out.write(f"{number} a line that repeats itself\n".encode() * (block // 128))
            number += 1
    part.rename(path)
    return path


def post_file(url: str, path: Path, token: str) -> Taken:
    """One multipart request by ``sendfile``, so that the sender costs nothing."""
    boundary = uuid.uuid4().hex
    head = part_head(boundary, "spec", "application/json")
    head += json.dumps({"name": "big"}).encode() + b"\r\n"
    head += part_head(boundary, 'bundle"; filename="big.zip', "application/zip")
    foot = f"\r\n--{boundary}--\r\n".encode()
    length = len(head) + path.stat().st_size + len(foot)
    address = urlsplit(url)
    with (
        socket.create_connection((address.hostname, address.port), 120) as sock,
        path.open("rb") as file,
    ):
        begun = time.perf_counter()
        sock.sendall(request_head(address.netloc, boundary, length, token) + head)
        sock.sendfile(file)
        sock.sendall(foot)
        sent = time.perf_counter() - begun
        answer = sock.makefile("rb").readline()
        accepted = time.perf_counter() - begun
    if b" 201 " not in answer:
        raise RuntimeError(f"the upload was answered with {answer!r}")
    return Taken(sent, accepted)


def part_head(boundary: str, name: str, kind: str) -> bytes:
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    ).encode()


def request_head(host: str, boundary: str, length: int, token: str) -> bytes:
    return (
        f"POST /api/v1/jobs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary}\r\n"
        f"Content-Length: {length}\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()
