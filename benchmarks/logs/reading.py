"""How is a log read while it is printed, in a process of its own? Its last word is JSON.

``python -m benchmarks.logs.reading follow URL JOB LINES`` reads it from the page's WebSocket,
``... attach IMAGE FOLDER LINES`` runs the program by the Docker SDK alone and reads what it prints,
``... ages IMAGE FOLDER`` tells how old each piece of it was by then.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import docker
import uvloop

from benchmarks import floors
from benchmarks.logs.lines import STAMPED, WIDTH, counted
from schemas.spec import JobSpec

OUTPUT = "o"


@dataclass(frozen=True, slots=True)
class Read:
    """What one reader saw of a program that says first when it began."""

    first: float
    """Seconds from the program's begin to its first bytes."""
    last: float
    """Seconds from the program's begin to its last bytes."""
    lines: int
    wrong: int
    """Lines that are lost, doubled, out of order or changed."""
    told: str
    processor: float
    """Seconds of processor time of this reader."""


def read_of(pieces: list[bytes], first: float, last: float, lines: int) -> Read:
    processor = time.process_time()
    data = b"".join(pieces)
    begun = float(data[:WIDTH])
    found = counted(data[WIDTH:], lines)
    told = ", ".join(f"{name} {value}" for name, value in asdict(found).items())
    return Read(first - begun, last - begun, found.lines, found.wrong, told, processor)


async def follow(url: str, job: str, lines: int) -> Read:
    pieces: list[bytes] = []
    first = last = 0.0
    path = f"{url}/api/v1/jobs/{job}/log/ws"
    who = {"Authorization": f"Bearer {os.environ['STOKER_TOKEN']}"}
    async with (
        aiohttp.ClientSession(headers=who) as http,
        http.ws_connect(path, max_msg_size=0) as socket,
    ):
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                printed = output_of(message.data)
                if printed:
                    last = time.time()
                    first = first or last
                    pieces += printed
            elif is_end(message):
                break
    return read_of(pieces, first, last, lines)


def output_of(frame: bytes) -> list[bytes]:
    """What the program itself printed, without Stoker's own lines."""
    size = int.from_bytes(frame[:4], "big")
    header: dict[str, Any] = json.loads(frame[4 : 4 + size])
    found, place = [], 4 + size
    for stream, length in header["spans"]:
        if stream == OUTPUT:
            found.append(frame[place : place + length])
        place += length
    return found


def is_end(message: aiohttp.WSMessage) -> bool:
    return message.type is aiohttp.WSMsgType.TEXT and json.loads(message.data)["type"] == "end"


def attach(image: str, folder: Path, lines: int) -> Read:
    """The SDK's ``attach``, before the start: what the engine gives to whoever reads it best."""
    pieces: list[bytes] = []
    first = last = 0.0
    for piece in attached(image, folder):
        last = time.time()
        first = first or last
        pieces.append(piece)
    return read_of(pieces, first, last, lines)


def attached(image: str, folder: Path) -> Iterator[bytes]:
    config = floors.hardened(image, folder, JobSpec())
    with closing(docker.APIClient(timeout=300)) as client:
        container = str(client.create_container_from_config(config)["Id"])
        try:
            stream = client.attach(container, stream=True, stdout=True, stderr=True)
            client.start(container)
            yield from stream
            client.wait(container)
        finally:
            client.remove_container(container, force=True)


def ages(image: str, folder: Path) -> list[float]:
    """Seconds from when the first line of each piece was printed until it was read."""
    found = []
    for piece in attached(image, folder):
        now = time.time()
        if stamp := STAMPED.search(piece):
            found.append(now - float(stamp[2]))
    return found


async def ages_in_process(image: str, folder: Path) -> list[float]:
    found: list[float] = json.loads(await last_word("ages", image, str(folder), seconds=120))
    return found


async def read_in_process(*words: str, seconds: float = 300, token: str = "") -> Read:
    """Runs this module and gives back what it read."""
    return Read(**json.loads(await last_word(*words, seconds=seconds, token=token)))


async def last_word(*words: str, seconds: float, module: str = "reading", token: str = "") -> bytes:
    """What a module of these benchmarks prints in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"benchmarks.logs.{module}", *words),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "STOKER_TOKEN": token},
    )
    try:
        async with asyncio.timeout(seconds):
            out, _ = await process.communicate()
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"{module} ended with {process.returncode}")
    return out


def main(words: list[str]) -> None:
    match words:
        case ["follow", url, job, lines]:
            read = uvloop.run(follow(url, job, int(lines)))
        case ["attach", image, folder, lines]:
            read = attach(image, Path(folder), int(lines))
        case ["ages", image, folder]:
            print(json.dumps(ages(image, Path(folder))))
            return
        case _:
            sys.exit(__doc__)
    print(json.dumps(asdict(read)))


if __name__ == "__main__":
    main(sys.argv[1:])
