"""What does a second upload cost of a big folder in which one file changed?

By the command, to a real ``stoker up``: a folder of files full of noise is submitted, one file is
written anew, and it is submitted again. A forwarder on the way to the page counts what is sent.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.processes import watched_growth
from benchmarks.stack import ROOT, Stack, environment, running_stack
from benchmarks.table import RESULTS, Figure

MEBIBYTE = 1 << 20
FILE_MEBIBYTES = 10
SENT_BAR = 40.0
"""MB of the second upload."""
SHARE = 0.1
"""Of the first one's time."""
GROWTH_BAR = 64.0
SETTLED = 2.5
"""Seconds after which the times of files are believed."""
SUBMIT_SECONDS = 600.0
RELAYED = 256 * 1024


@dataclass
class Line:
    """The way to the page, and what went over it."""

    url: str
    sent: int = 0
    """Bytes from the command to the page."""


async def figures(mebibytes: int) -> list[Figure]:
    RESULTS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="stoker-folder-", dir=RESULTS.absolute()))
    try:
        await asyncio.to_thread(fill, folder / "job", mebibytes)
        await asyncio.sleep(SETTLED)
        async with running_stack("dummy") as stack, counted(stack.url) as line:
            await submit(stack, line, made(folder / "small"), folder)  # imports, connections
            ours = [one for one in stack.processes() if not one.name().startswith("nats-server")]
            async with watched_growth(ours) as growth:
                first, first_sent = await submit(stack, line, folder / "job", folder)
                await idle(stack)
                await asyncio.to_thread(rewrite, folder / "job" / "part-0003.bin")
                second, second_sent = await submit(stack, line, folder / "job", folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    name, grown = growth.worst()
    told = f"folder of {mebibytes / 1024:g} GiB"
    return [
        Figure(
            f"{told}, one {FILE_MEBIBYTES} MiB file changed: sent again", second_sent / 1e6, "MB",
            SENT_BAR, beside="the first upload", reference=first_sent / 1e6,
        ),
        Figure(
            f"{told}, one {FILE_MEBIBYTES} MiB file changed: second upload", second, "s",
            SHARE * first, beside="the first upload", reference=first,
        ),
        Figure(
            f"{told}: growth of the worst process but nats-server", grown / MEBIBYTE, "MiB",
            GROWTH_BAR, note=growth.told() or name,
        ),
    ]  # fmt: skip


def fill(folder: Path, mebibytes: int) -> None:
    folder.mkdir()
    (folder / "main.py").write_text("print(1)\n")
    for number in range(max(4, mebibytes // FILE_MEBIBYTES)):
        rewrite(folder / f"part-{number:04}.bin")


def rewrite(path: Path) -> None:
    path.write_bytes(os.urandom(FILE_MEBIBYTES * MEBIBYTE))


def made(folder: Path) -> Path:
    folder.mkdir()
    (folder / "main.py").write_text("print(1)\n")
    return folder


async def submit(stack: Stack, line: Line, path: Path, folder: Path) -> tuple[float, int]:
    """Seconds that ``stoker submit`` took, and bytes that it sent."""
    variables = {
        **environment(folder),
        "STOKER_URL": line.url,
        "STOKER_TOKEN": stack.token,
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    before, begun = line.sent, time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stoker", "submit", str(path), "--yes"),
        cwd=ROOT,
        env=variables,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SUBMIT_SECONDS):
        _, told = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"stoker submit ended with {process.returncode}: {told.decode()}")
    return time.perf_counter() - begun, line.sent - before


async def idle(stack: Stack) -> None:
    """Until the job has ended: the worker fetches the files meanwhile."""
    newest = (await stack.get("/api/v1/jobs?limit=1"))["jobs"][0]
    await stack.ended(newest["id"], SUBMIT_SECONDS)


@asynccontextmanager
async def counted(url: str) -> AsyncIterator[Line]:
    """A forwarder to the page on a port of its own."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    line = Line("")

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(host, port)
        with closing(writer), closing(to_writer):
            await asyncio.gather(
                relay(reader, to_writer, line), relay(to_reader, writer, None),
                return_exceptions=True,
            )  # fmt: skip

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    async with server:
        line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield line


async def relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line | None
) -> None:
    while part := await reader.read(RELAYED):
        if line is not None:
            line.sent += len(part)
        writer.write(part)
        await writer.drain()
    writer.write_eof()
